"""Find what goes wrong in a run: samples, steps, clips."""
