"""Compare sets of generated and real clips: distances and near copies."""
