"""Train a small network, the probe, to name what clips show."""
