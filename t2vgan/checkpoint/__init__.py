"""Checkpoints, verified and published atomically, and self-describing weights files."""
