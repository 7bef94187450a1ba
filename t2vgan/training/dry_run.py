"""Print a run's plan, its size and its cost (--dry-run)."""

import statistics
import time
from dataclasses import dataclass

from t2vgan.config import Config
from t2vgan.distributed.context import stop_without_peers
from t2vgan.distributed.device import describe_device, peak_memory_gb
from t2vgan.gan.batch import StepInputs
from t2vgan.tracking.metrics_log import format_duration
from t2vgan.training.cost.report import format_estimates
from t2vgan.training.cost.step_cost import StepSizes
from t2vgan.training.run_dir import CONFIG_NAME, check_same_run
from t2vgan.training.setup import RunSetup
from t2vgan.utils.console import print_stdout
from t2vgan.utils.frozen import flatten

BUDGET_SECONDS = 8.0  # for timing steps: with imports and data, 20 s in total
ESTIMATED = (
    "cost on a GPU, ESTIMATED per process from launches, arithmetic and memory (docs/scaling.md):"
)
MAX_STEPS_TIMED = 8


@stop_without_peers()
def dry_run(config: Config) -> int:
    """Print the resolved config, sizes and arithmetic; time a few real steps."""
    run = RunSetup(config, mode="train --dry-run")
    changes = check_same_run(config)
    origin = run.model.initialize(keep_states=False)
    if run.context.is_main:
        for title, lines in format_plan(run, changes, origin).items():
            print_stdout("\n  ".join([f"{title}:", *lines]))
        print_stdout("cost, measured on a few steps:")
    cost = time_steps(run)
    if run.context.is_main:
        left = format_duration(cost.seconds * config.train.num_steps)
        print_stdout(
            f"  time      {1000 * cost.seconds:.0f} ms per step, {left} of training in total"
        )
        memory = peak_memory_gb(run.context.device)
        print_stdout(f"  memory    {memory:.2f} GB at the peak, per process")
        if cost.num_clips < run.plan.micro_size:
            sizes = f"{cost.num_clips} instead of {run.plan.micro_size} clips"
            print_stdout(
                f"  upper bounds extrapolated from passes of {sizes}, because full passes take long"
            )
        print_stdout("\n  ".join([ESTIMATED, *estimate(run)]))
        print_stdout("nothing was written")
    run.context.shutdown()
    return 0


def estimate(run: RunSetup) -> list[str]:
    """Estimate the cost of a step on GPUs, as lines."""
    geometry, preparer = run.manifest.geometry, run.preparer
    sizes = StepSizes(
        num_clips=run.plan.micro_size,
        height=geometry.height,
        width=geometry.width,
        vocabulary_size=len(run.vocabulary),
        num_tokens=preparer.num_tokens,
        augments=preparer.augmented_share > 0,
    )
    return format_estimates(run.config, run.plan, sizes)


def format_plan(run: RunSetup, changes: list[str], origin: list[str]) -> dict[str, list[str]]:
    """Return the lines of the plan by title."""
    config, manifest, plan = run.config, run.manifest, run.plan
    geometry, train = manifest.geometry, config.train
    nothing = (
        "nothing" if (config.run_dir / CONFIG_NAME).exists() else "the run was not started yet"
    )
    steps_per_epoch = manifest.num_samples / plan.global_size
    return {
        "config": [f"{name:32} {value}" for name, value in flatten(config).items()],
        "changed since the run was started": changes or [nothing],
        "initial weights": origin or ["none: networks are initialized at random"],
        "parameters": [
            f"{name:14} {sum(p.numel() for p in side.network.parameters()):,}"
            for name, side in run.gan.optimizers.items()
        ],
        "batch": [
            f"{plan.global_size} clips per step = {run.context.world_size} processes *"
            f" {plan.num_micro_batches} micro-batches * {plan.micro_size} clips,"
            f" {train.frames_per_clip} of {geometry.num_frames} frames each",
            f"{train.num_steps} steps = {train.num_steps * plan.global_size:,} clips ="
            f" {train.num_steps / steps_per_epoch:.1f} epochs",
        ],
        "data": [
            f"{len(manifest.shards)} shards in {config.data.name}, {manifest.num_samples:,} clips"
            f" of {geometry.num_frames} x {geometry.height} x {geometry.width}",
            f"{len(manifest.prompts)} prompts, {len(run.vocabulary.words)} words,"
            f" {len(manifest.held_out_prompts)} held-out prompts",
            *run.describe_data(),
        ],
        "device": [
            f"{describe_device(run.context.device)}, {run.gan.precision}".replace("torch.", "")
        ],
    }


@dataclass(frozen=True)
class Cost:
    """Time of a training step, and clips per timed pass."""

    seconds: float
    num_clips: int


def time_steps(run: RunSetup) -> Cost:
    """Time training steps on real clips, for a few seconds (collective).

    The number of clips is doubled while there is time, because a whole batch may take a minute.
    Steps with the penalty take longer and are weighted by how often they occur.
    """
    plan = run.plan
    if plan.num_micro_batches > 1:
        run.gan.generate_for_each_update()
    with run.loader() as loader:
        clips, *_ = run.preparer.load(next(loader)).micro_batches()
    every = run.config.train.penalty_every_steps

    def measure(num_clips: int, step: int) -> float:
        start = time.perf_counter()
        with run.explain_lack_of_memory():
            run.gan.train_step(StepInputs.of([clips.slice(slice(0, num_clips))]), step)
        run.gan.metrics.reduce()  # waits for the device
        return run.context.broadcast(time.perf_counter() - start)

    measure(1, step=0)  # warms up
    end = run.context.broadcast(time.monotonic() + BUDGET_SECONDS)
    size, plain = 1, [measure(1, step=1)]
    while size < plan.micro_size and has_time(
        run, end, 6 * plain[-1]
    ):  # time for a plain and a penalised step
        size = min(2 * size, plan.micro_size)
        plain = [measure(size, step=1)]
    while len(plain) < MAX_STEPS_TIMED and has_time(run, end, 4 * plain[-1]):
        plain.append(measure(size, step=1))
    seconds = statistics.median(plain)
    if every:
        seconds += (measure(size, step=0) - seconds) / every
    return Cost(seconds * plan.rank_size / size, size)


def has_time(run: RunSetup, end: float, seconds: float) -> bool:
    """Return whether the main rank has that much time left (collective)."""
    return run.context.broadcast(time.monotonic() + seconds < end)
