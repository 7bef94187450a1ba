"""Check training on a GPU with two commands that take minutes."""
