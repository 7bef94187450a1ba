"""The run: start, resume, train, log, evaluate, save and stop.

`trainer.py` holds the loop, `setup.py` the parts of a run and their state, `model.py` the networks
and the vocabulary, `data.py` the data. Every other part has its own module.
"""
