"""Check code, packages, config and tracker."""

import os

from t2vgan.checkpoint.storage import read_latest_state
from t2vgan.config import Config
from t2vgan.data.batch_plan import check_frames_per_clip, plan_batches
from t2vgan.distributed.consistency import (
    describe_config,
    describe_software,
    find_differences,
    join_first,
)
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.tracking import check_tracking, has_wandb_key
from t2vgan.training.data import open_checked_data
from t2vgan.training.model import build_run_networks
from t2vgan.training.preflight.check_result import FIT, UNFIT, WARNING, CheckResult
from t2vgan.training.run_dir import check_same_data, check_same_run
from t2vgan.utils.console import count_of, format_error


def check_software(context: DistributedContext, config: Config) -> CheckResult:
    """Compare library versions and our source files."""
    facts = describe_software()
    different = find_differences(context.gather_objects(facts))
    if different:
        return CheckResult("software", UNFIT, join_first(different))
    num_sources = sum(name.startswith("code ") for name in facts)
    return CheckResult(
        "software", FIT, f"python {facts['python']}, torch {facts['torch']}, and {num_sources}"
        " source files are the same on all ranks",
    )  # fmt: skip


def check_config(context: DistributedContext, config: Config) -> CheckResult:
    """Compare the config, and check that its batch divides over the ranks."""
    try:
        facts = context.run_on_all(lambda: describe_config(config, context.device))
        different = find_differences(context.gather_objects(facts))
        if different:
            return CheckResult("config", UNFIT, join_first(different))
        micro = plan_batches(config, context.world_size).micro_size
    except UserError as error:
        return CheckResult("config", UNFIT, format_error(error))
    text = f"{count_of(context.world_size, 'process', 'processes')}, {micro} clips each per pass"
    return CheckResult("config", FIT, text)


def check_run(context: DistributedContext, config: Config) -> CheckResult:
    """Check that options, data, networks and run_dir are compatible."""
    try:
        changes = context.run_on_main(lambda: fit_together(config, context.world_size))
    except (UserError, OSError) as error:
        return CheckResult("run", UNFIT, format_error(error))
    return CheckResult(
        "run", FIT, "; ".join(changes) or "options, data, networks and run_dir fit together"
    )


def fit_together(config: Config, world_size: int) -> list[str]:
    """Return the options that changed since the run was started.

    Raises:
        UserError: train.py would not start the run."""
    changes = check_same_run(config)
    data = open_checked_data(config, world_size)
    check_frames_per_clip(config, data.manifest.geometry.num_frames)
    build_run_networks(config, data.manifest)
    if state := read_latest_state(config.run_dir):
        check_same_data(config, data.manifest.fingerprint, state.get("data_fingerprint"))
    return changes


def check_tracker(context: DistributedContext, config: Config) -> CheckResult:
    """Check that the tracker is installed and has a key."""
    try:
        context.run_on_main(lambda: check_tracking(config))
    except UserError as error:
        return CheckResult("tracking", UNFIT, format_error(error))
    online = os.environ.get("WANDB_MODE", "online") == "online"
    if config.tracking == "wandb" and online and not context.broadcast(has_wandb_key()):
        return CheckResult("tracking", WARNING, "wandb has no key: it would record offline")
    return CheckResult("tracking", FIT, config.tracking)
