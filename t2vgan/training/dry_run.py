"""`--dry-run`: what a run would do, how large it is, and what it costs; nothing is written."""

import time

from t2vgan.config import Config
from t2vgan.distributed.device import describe_device, peak_memory_gb
from t2vgan.tracking.metrics_log import format_duration
from t2vgan.training.run_dir import CONFIG_NAME, check_same_run
from t2vgan.training.trainer import Trainer
from t2vgan.utils.frozen import flatten

STEPS_TRIED = 16  # two rounds of the penalty's usual interval


def dry_run(config: Config) -> int:
    """Print the resolved config, sizes and arithmetic, and time a few real steps."""
    trainer = Trainer(config)
    changes = check_same_run(config)
    if trainer.processes.is_main:
        for title, lines in describe(trainer, changes).items():
            print(f"{title}:", *lines, sep="\n  ")
        print(f"cost, from {STEPS_TRIED} steps tried now:", flush=True)
    seconds = time_steps(trainer)
    if trainer.processes.is_main:
        left = seconds * config.train.num_steps
        print(f"  time      {1000 * seconds:.0f} ms a step, {format_duration(left)} for the run")
        print(f"  memory    {peak_memory_gb():.2f} GB at the peak, per process")
        print("nothing was written")
    trainer.processes.shutdown()
    return 0


def describe(trainer: Trainer, changes: list[str]) -> dict[str, list[str]]:
    """Return titled lists of lines."""
    config, manifest, processes = trainer.config, trainer.manifest, trainer.processes
    geometry, train = manifest.geometry, config.train
    networks = {name: side.network for name, side in trainer.game.players.items()}
    nothing = "nothing" if (config.run_dir / CONFIG_NAME).exists() else "it was not started yet"
    steps_per_epoch = manifest.num_samples / train.global_batch_size
    return {
        "config": [f"{name:32} {value}" for name, value in flatten(config).items()],
        "changed since the run was started": changes or [nothing],
        "parameters": [
            f"{name:14} {sum(p.numel() for p in network.parameters()):,}"
            for name, network in networks.items()
        ],
        "batch": [
            f"{train.global_batch_size} clips a step = {processes.world_size} processes *"
            f" {train.global_batch_size // processes.world_size // trainer.micro_batch_size}"
            f" micro-batches * {trainer.micro_batch_size} clips, {train.frames_per_clip} of"
            f" {geometry.num_frames} frames each",
            f"{train.num_steps} steps = {train.num_steps * train.global_batch_size:,} clips ="
            f" {train.num_steps / steps_per_epoch:.1f} epochs",
        ],
        "data": [
            f"{len(manifest.shards)} shards in {config.data.name}, {manifest.num_samples:,} clips"
            f" of {geometry.num_frames} x {geometry.height} x {geometry.width}",
            f"{len(manifest.prompts)} prompts, {len(trainer.vocabulary.words)} words,"
            f" {len(manifest.held_out_prompts)} held-out prompts",
        ],
        "device": [
            f"{describe_device(processes.device)}, {trainer.game.precision}".replace("torch.", "")
        ],
    }


def time_steps(trainer: Trainer) -> float:
    """Train a few steps on real batches and return the seconds that one takes."""
    start = 0.0
    with trainer.loader() as loader:
        for step in range(STEPS_TRIED + 1):
            if step == 1:  # the first one warms up
                trainer.game.notes.read()
                start = time.perf_counter()
            trainer.train_step(next(loader))
        trainer.game.notes.read()  # waits for the device
    return (time.perf_counter() - start) / STEPS_TRIED
