"""Verified, atomically published checkpoints, and self-describing weights files."""
