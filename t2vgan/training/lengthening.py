"""Adapt schedules to a change of the number of steps."""

from collections.abc import Sequence

from t2vgan.config import TrainConfig
from t2vgan.gan.schedules import Length, compute_progress, compute_schedule, warmup_steps


def adapt_lengths(
    lengths: Sequence[Length], train: TrainConfig, step: int
) -> tuple[list[Length], str]:
    """Return the lengths that schedules follow after a resume, and a message.

    The message is empty if the length is that of the checkpoint.
    """
    kept = [(since, num_steps) for since, num_steps in lengths]
    (_, before) = kept[-1]
    if train.num_steps == before:
        return kept, ""
    if train.lengthening == "constant":
        end = min(max(step, before), train.num_steps)
        return kept, (
            f"schedule: keeps its length of {before} steps: {_format_rates(train, kept, end)} from"
            f" step {end} on (with --train.lengthening stretch, it follows {train.num_steps} steps)"
        )
    length = (step, train.num_steps)
    stretched, warm = [*kept, length], step + warmup_steps(length)
    return stretched, (
        f"schedule: follows {train.num_steps} steps after a warm-up:"
        f" {_format_rates(train, stretched, step)} at step {step},"
        f" {_format_rates(train, stretched, warm)} at step {warm}"
    )


def _format_rates(train: TrainConfig, lengths: Sequence[Length], step: int) -> str:
    schedule = compute_schedule(train, 0.0, step, compute_progress(lengths, step))
    return f"learning rates {schedule.generator_lr:.2g} and {schedule.discriminator_lr:.2g}"
