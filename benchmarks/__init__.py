"""One script per claim: each prints a table and writes a dated record to results/."""
