"""Split clips over processes and threads, whose number does not affect results."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from tqdm import tqdm

from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.pipeline import one_worker_per_thread
from t2vgan.utils.console import format_error

CLIPS_AT_ONCE = 64  # computed together by one rank and thread
SLOW_SECONDS = 2.0  # progress is shown for work that takes longer

T = TypeVar("T")


def map_over_ranks(
    context: DistributedContext,
    num_clips: int,
    function: Callable[[Sequence[int]], T],
    *,
    label: str,
) -> list[T]:
    """Return `function` of clips 0..63, 64..127, ... on every rank (collective).

    Rank r of R computes chunks r, r + R, ..., in as many threads as PyTorch has, because meters run
    on the CPU even if clips are drawn on a GPU.

    Raises:
        UserError: on all ranks, if there was a UserError or an OSError on any.
    """
    starts = range(0, num_clips, CLIPS_AT_ONCE)
    chunks = [range(start, min(start + CLIPS_AT_ONCE, num_clips)) for start in starts]
    own: list[T] = []
    problem = ""
    try:
        own_chunks = chunks[context.rank :: context.world_size]
        own = _map_chunks(own_chunks, function, label, context)
    except (UserError, OSError) as error:
        problem = format_error(error)
    gathered = context.gather_objects((own, problem))
    if problem := next((found for _, found in gathered if found), ""):
        raise UserError(problem)
    world_size = context.world_size
    return [gathered[index % world_size][0][index // world_size] for index in range(len(chunks))]


def _map_chunks(
    chunks: Sequence[range],
    function: Callable[[Sequence[int]], T],
    label: str,
    context: DistributedContext,
) -> list[T]:
    results = []
    total = sum(map(len, chunks))
    hidden = not context.is_main
    with (
        one_worker_per_thread(torch.device("cpu")) as workers,
        tqdm(total=total, desc=label, unit="clip", delay=SLOW_SECONDS, disable=hidden) as progress,
    ):
        try:
            for chunk, result in zip(chunks, workers.map(function, chunks), strict=True):
                results.append(result)
                progress.update(len(chunk))
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    return results
