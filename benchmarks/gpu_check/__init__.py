"""Check training on a GPU in two commands of minutes."""
