"""Process groups, devices, heartbeats, and comparisons of ranks."""
