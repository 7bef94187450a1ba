"""A live view of a run in the terminal, from its files alone: `python -m t2vgan.watch RUN_DIR`."""
