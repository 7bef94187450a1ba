"""Text-to-video GANs: build shards, train, sample, evaluate."""

__version__ = "0.1.0"
