"""Trackers, through accelerate: they get every number, and can never stop a run."""

import logging

from accelerate import Accelerator

from t2vgan.config import Config
from t2vgan.runlog import RunLog

logger = logging.getLogger(__name__)


def start_tracker(accelerator: Accelerator, config: Config, log: RunLog) -> None:
    """Send the log's numbers to the tracker too; if it cannot start, say so and go without."""
    if config.tracking == "none":
        return
    try:
        accelerator.init_trackers(
            "t2vgan",
            config=config.model_dump(mode="json"),
            init_kwargs={"wandb": {"name": config.run_dir.name}},
        )
    except Exception as error:  # whatever a tracker does, the run goes on
        reason = " ".join(str(error).split())
        logger.warning("%s did not start (%s); metrics go to %s", config.tracking, reason, log.path)
        return
    log.attach_tracker(accelerator.log)


def end_tracker(accelerator: Accelerator, config: Config) -> None:
    """Let the tracker finish; its failure must not fail a finished run."""
    if config.tracking == "none":
        return
    try:
        accelerator.end_training()
    except Exception as error:
        reason = " ".join(str(error).split())
        logger.warning("%s did not end cleanly (%s)", config.tracking, reason)
