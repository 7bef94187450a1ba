"""The algorithm: losses, the training step, the optimizers and the averaged generator.

`adversarial.py` holds the step, `adversarial_losses.py` each network's loss, `losses.py` the
formulas, `schedules.py` what changes over a run, `batch.py` and `mismatched_prompts.py` what a step
is given.
"""
