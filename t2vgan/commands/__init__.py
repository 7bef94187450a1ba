"""Commands with options: train, generate, demo and export."""
