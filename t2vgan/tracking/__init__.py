"""Trackers: they get every record from a thread, and can neither stop nor slow a run."""

import importlib.util
from typing import Any

from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.tracking.background import BackgroundTracker, Tracker
from t2vgan.tracking.wandb_key import has_wandb_key

__all__ = ["Outbox", "check_tracking", "has_wandb_key", "start_tracking"]


def check_tracking(config: Config) -> None:
    """Raise UserError if the tracker asked for is not installed."""
    if config.tracking != "none" and importlib.util.find_spec(config.tracking) is None:
        raise UserError(
            f"tracking={config.tracking} needs a package that is not installed; run"
            f" `pip install {config.tracking}`, or leave --tracking out"
        )


def start_tracking(
    config: Config, environment: dict[str, Any], step: int
) -> BackgroundTracker | None:
    """Return where to put records for the tracker, which starts in its own time.

    None without one. `step` is where the run goes on; `environment` is what run.json holds.
    """
    if config.tracking == "none":
        return None

    def start() -> Tracker:  # in the outbox's thread: imports take seconds, servers longer
        if config.tracking == "wandb":
            from t2vgan.tracking.wandb_tracker import WandbTracker

            return WandbTracker(config.run_dir, settings)
        from t2vgan.tracking.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(config.run_dir, settings, step)

    settings = config.model_dump(mode="json") | {"environment": environment}
    return BackgroundTracker(config.tracking, start)
