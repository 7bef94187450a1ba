"""Benchmarks: each script measures one claim, and writes results/."""
