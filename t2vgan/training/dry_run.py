"""Print what a run would do, its size and its cost (--dry-run)."""

import time

from t2vgan.config import Config
from t2vgan.distributed.device import describe_device, peak_memory_gb
from t2vgan.tracking.metrics_log import format_duration
from t2vgan.training.run_dir import CONFIG_NAME, check_same_run
from t2vgan.training.trainer import Trainer
from t2vgan.utils.frozen import flatten

STEPS_TIMED = 16  # two rounds of the penalty's usual interval


def dry_run(config: Config) -> int:
    """Print the resolved config, sizes and arithmetic; time a few real steps."""
    trainer = Trainer(config)
    changes = check_same_run(config)
    origin = trainer.load_initial_weights()
    if trainer.context.is_main:
        for title, lines in format_plan(trainer, changes, origin).items():
            print(f"{title}:", *lines, sep="\n  ")
        print(f"cost, from {STEPS_TIMED} steps tried now:", flush=True)
    seconds = time_steps(trainer)
    if trainer.context.is_main:
        left = seconds * config.train.num_steps
        print(f"  time      {1000 * seconds:.0f} ms a step, {format_duration(left)} for the run")
        print(f"  memory    {peak_memory_gb():.2f} GB at the peak, per process")
        print("nothing was written")
    trainer.context.shutdown()
    return 0


def format_plan(trainer: Trainer, changes: list[str], origin: list[str]) -> dict[str, list[str]]:
    """Return titled lists of lines."""
    config, manifest, plan = trainer.config, trainer.manifest, trainer.plan
    geometry, train = manifest.geometry, config.train
    nothing = "nothing" if (config.run_dir / CONFIG_NAME).exists() else "it was not started yet"
    steps_per_epoch = manifest.num_samples / plan.global_size
    return {
        "config": [f"{name:32} {value}" for name, value in flatten(config).items()],
        "changed since the run was started": changes or [nothing],
        "initial weights": origin or ["none: networks start at random"],
        "parameters": [
            f"{name:14} {sum(p.numel() for p in side.network.parameters()):,}"
            for name, side in trainer.gan.optimizers.items()
        ],
        "batch": [
            f"{plan.global_size} clips a step = {trainer.context.world_size} processes *"
            f" {plan.num_micro_batches} micro-batches * {plan.micro_size} clips,"
            f" {train.frames_per_clip} of {geometry.num_frames} frames each",
            f"{train.num_steps} steps = {train.num_steps * plan.global_size:,} clips ="
            f" {train.num_steps / steps_per_epoch:.1f} epochs",
        ],
        "data": [
            f"{len(manifest.shards)} shards in {config.data.name}, {manifest.num_samples:,} clips"
            f" of {geometry.num_frames} x {geometry.height} x {geometry.width}",
            f"{len(manifest.prompts)} prompts, {len(trainer.vocabulary.words)} words,"
            f" {len(manifest.held_out_prompts)} held-out prompts",
        ],
        "device": [
            f"{describe_device(trainer.context.device)}, {trainer.gan.precision}".replace(
                "torch.", ""
            )
        ],
    }


def time_steps(trainer: Trainer) -> float:
    """Train a few steps on real batches; return the seconds of one."""
    start = 0.0
    with trainer.loader() as loader:
        for step in range(STEPS_TIMED + 1):
            if step == 1:  # the first one warms up
                trainer.gan.metrics.reduce()
                start = time.perf_counter()
            trainer.train_step(next(loader))
        trainer.gan.metrics.reduce()  # waits for the device
    return (time.perf_counter() - start) / STEPS_TIMED
