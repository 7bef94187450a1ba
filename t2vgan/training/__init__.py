"""The run: start, resume, train, log, evaluate, save and stop.

`trainer.py` reads from top to bottom; each of its parts has a module of its own.
"""
