"""Command lines of the programs at the top level."""
