"""Divide a global batch over ranks, micro-batches and streams."""

from dataclasses import dataclass

from t2vgan.config import Config
from t2vgan.errors import UserError

PENALTY_STRIDE = 4
"""The approximate penalty is computed for every fourth clip of the global batch, from clip 0 on."""


@dataclass(frozen=True)
class BatchPlan:
    """Numbers of clips, each a multiple of the next."""

    global_size: int
    """Clips per step over all ranks."""
    rank_size: int
    """Clips per step on one rank."""
    micro_size: int
    """Clips per backward pass on one rank."""

    @property
    def num_micro_batches(self) -> int:
        """Backward passes per step on one rank."""
        return self.rank_size // self.micro_size


def plan_batches(config: Config, world_size: int) -> BatchPlan:
    """Return how a global batch is divided.

    Raises:
        UserError: world size, streams and batch sizes do not divide; it shows the arithmetic.
    """
    streams, batch = config.data.num_streams, config.train.global_batch_size
    if streams % world_size:
        raise UserError(
            f"data.num_streams={streams} must be a multiple of world_size={world_size}"
            f" ({streams} = {streams // world_size} * {world_size} + {streams % world_size});"
            f" try {advise_streams(batch, world_size, max(streams, world_size))}"
        )
    if batch % streams:
        raise UserError(
            f"train.global_batch_size={batch} must be a multiple of data.num_streams={streams}"
            f" ({batch} = {batch // streams} * {streams} + {batch % streams});"
            f" try --train.global-batch-size {_multiple(batch, streams)}"
        )
    local = batch // world_size
    micro = config.train.micro_batch_size or local
    if local % micro:
        raise UserError(
            f"train.global_batch_size={batch} must be a multiple of world_size *"
            f" micro_batch_size = {world_size} * {micro} = {world_size * micro}"
        )
    train = config.train
    if train.penalty == "approximate" and train.penalty_every_steps and micro % PENALTY_STRIDE:
        raise UserError(
            f"train.penalty=approximate uses one clip in {PENALTY_STRIDE}, so the {micro} clips per"
            f" backward pass must be a multiple of {PENALTY_STRIDE}; use --train.penalty exact, or"
            " another --train.micro-batch-size or --train.global-batch-size"
        )
    return BatchPlan(global_size=batch, rank_size=local, micro_size=micro)


def check_num_shards(config: Config, world_size: int, num_shards: int) -> None:
    """Raise UserError if a dataset has fewer shards than there are streams."""
    streams, batch = config.data.num_streams, config.train.global_batch_size
    if streams > num_shards:
        raise UserError(
            f"data.num_streams={streams} must be at most the number of shards = {num_shards}; build"
            " smaller shards (--clips-per-shard, --rows-per-shard) or try"
            f" {advise_streams(batch, world_size, num_shards)}"
        )


def advise_streams(batch: int, world_size: int, most: int) -> str:
    """Return options with at most `most` streams that fit ranks and batch.

    If no number of streams divides the batch, another batch size is suggested.
    """
    fitting = [n for n in range(world_size, most + 1, world_size) if batch % n == 0]
    if fitting:
        return f"--data.num-streams {fitting[-1]}"
    streams = _multiple(most, world_size)
    if streams > most:
        return f"at most {most} processes"
    return f"--data.num-streams {streams} --train.global-batch-size {_multiple(batch, streams)}"


def check_frames_per_clip(config: Config, num_frames: int) -> None:
    """Raise UserError if the data's clips have too few frames."""
    if config.train.frames_per_clip > num_frames:
        raise UserError(
            f"train.frames_per_clip={config.train.frames_per_clip} must be at most the"
            f" {num_frames} frames of the clips in {config.data.name}"
        )


def _multiple(value: int, factor: int) -> int:
    """Return the largest multiple of `factor` up to `value`, at least one."""
    return max(1, value // factor) * factor
