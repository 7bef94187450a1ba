"""Check before training that every rank is fit for it (--preflight).

Every check is collective, and its result is the same on all ranks.
"""

from t2vgan.training.preflight.run import preflight

__all__ = ["preflight"]
