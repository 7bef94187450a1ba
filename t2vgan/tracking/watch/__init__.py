"""Live terminal view of a run, from its files alone."""
