"""Score videos: prompt accuracy, diversity, distances from real clips, near copies."""
