"""Detect problems of a run: bad samples, nonfinite steps, failing training."""
