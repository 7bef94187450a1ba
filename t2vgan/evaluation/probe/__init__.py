"""Train a small network to name what real clips show, and measure generated clips by it."""
