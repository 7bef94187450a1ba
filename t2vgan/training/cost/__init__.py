"""The cost of a training step: operations, FLOPs, bytes."""
