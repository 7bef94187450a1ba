"""Live terminal view of a run, based only on its files."""
