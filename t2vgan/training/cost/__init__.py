"""What a training step costs: operations, FLOPs, bytes."""
