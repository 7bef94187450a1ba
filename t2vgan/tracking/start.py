"""Check and start the tracker that the config names."""

import importlib.util
from typing import Any

from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.tracking.background import BackgroundTracker, Tracker


def check_tracking(config: Config) -> None:
    """Raise UserError if the tracker is not installed."""
    if config.tracking != "none" and importlib.util.find_spec(config.tracking) is None:
        raise UserError(
            f"tracking={config.tracking} needs a package that is not installed; run"
            f" `pip install {config.tracking}`, or omit --tracking"
        )


def start_tracking(
    config: Config, environment: dict[str, Any], step: int
) -> BackgroundTracker | None:
    """Start the tracker in a thread; return None without one.

    `step` is the step from which the run resumes; `environment` is the content of run.json.
    """
    if config.tracking == "none":
        return None
    settings = config.redacted().model_dump(mode="json") | {"environment": environment}

    def start() -> Tracker:  # runs in the thread: imports take seconds, servers longer
        if config.tracking == "wandb":
            from t2vgan.tracking.wandb_tracker import WandbTracker

            return WandbTracker(config.run_dir, settings)
        from t2vgan.tracking.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(config.run_dir, settings, step)

    return BackgroundTracker(config.tracking, start)
