"""Checkpoints: folder.py keeps them whole, state.py fills them, `python -m` shows them."""
