"""Train a small network to name what clips show."""
