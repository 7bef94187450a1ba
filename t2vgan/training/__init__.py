"""The run: start, resume, train, log, evaluate, save and stop.

`trainer.py` is the loop, `setup.py` its parts and their state, `model.py` what is trained, and
`data.py` what it is shown. Each other part has a module of its own.
"""
