"""Command lines, console, files, seeds, URLs and the environment."""
