"""Experiment tracking in a thread that cannot stop or slow a run."""

from t2vgan.tracking.background import BackgroundTracker
from t2vgan.tracking.start import check_tracking, start_tracking
from t2vgan.tracking.wandb_key import has_wandb_key

__all__ = ["BackgroundTracker", "check_tracking", "has_wandb_key", "start_tracking"]
