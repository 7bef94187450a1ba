"""Clips that could not be used: counted by reason over all ranks, named, and limited."""

from collections import Counter
from collections.abc import Sequence

from t2vgan.config import DataConfig
from t2vgan.data.loader import BadSample
from t2vgan.errors import UserError
from t2vgan.training.state import TrainState

NAMED_PER_REASON = 5


def count_bad_clips(state: TrainState, bad_samples: Sequence[BadSample]) -> list[str]:
    """Add bad clips to the state's counts; return a message for the first ones of each reason."""
    messages = []
    for bad in bad_samples:
        state.bad_clips[bad.reason] = state.bad_clips.get(bad.reason, 0) + 1
        if state.bad_clips[bad.reason] <= NAMED_PER_REASON:
            messages.append(
                f"bad sample {bad.key} in {bad.shard}: {bad.reason}: {bad.detail};"
                " a neighbour takes its place"
            )
    return messages


def check_bad_clips(state: TrainState, data: DataConfig, last: BadSample) -> None:
    """Stop a run whose data are damaged too much; the counts are the same on every rank.

    Raises:
        UserError: more than data.max_bad_fraction of the clips shown were bad.
    """
    num_bad = sum(state.bad_clips.values())
    if num_bad <= max(1, data.max_bad_fraction * state.clips_seen):
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(state.bad_clips).items())
    raise UserError(
        f"{num_bad} of {state.clips_seen} clips could not be used ({reasons}), more than"
        f" data.max_bad_fraction={data.max_bad_fraction}; last: {last.shard} {last.key}:"
        f" {last.detail} (python -m data_tools.verify_shards checks a whole folder)"
    )
