"""Compare generated clips with real ones as sets: distances and near copies."""
