"""Clips split over processes and threads, so that no number depends on how many there are."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from tqdm import tqdm

from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.pipeline import one_worker_per_thread
from t2vgan.utils.console import format_error

CLIPS_AT_ONCE = 64  # what is computed together, whoever computes it
SLOW_SECONDS = 2.0  # work that takes longer shows its progress

T = TypeVar("T")


def share_clips(
    processes: DistributedContext,
    device: torch.device,
    num_clips: int,
    work: Callable[[Sequence[int]], T],
    *,
    label: str,
) -> list[T]:
    """Return what `work` makes of clips 0..63, 64..127, ...: all of it, on every rank (collective).

    Rank r of R takes every R-th chunk. What the user or the disk did wrong on any rank is raised on
    all of them.
    """
    starts = range(0, num_clips, CLIPS_AT_ONCE)
    chunks = [range(start, min(start + CLIPS_AT_ONCE, num_clips)) for start in starts]
    places = range(processes.rank, len(chunks), processes.world_size)
    mine, problem = [], ""
    try:
        mine = _work_through([chunks[place] for place in places], work, device, label, processes)
    except (UserError, OSError) as error:
        problem = format_error(error)
    everyone = processes.gather_objects((mine, problem))
    if problem := next((found for _, found in everyone if found), ""):
        raise UserError(problem)
    by_place = {
        place: result
        for rank, (results, _) in enumerate(everyone)
        for place, result in zip(
            range(rank, len(chunks), processes.world_size), results, strict=True
        )
    }
    return [by_place[place] for place in range(len(chunks))]


def _work_through(
    chunks: Sequence[range],
    work: Callable[[Sequence[int]], T],
    device: torch.device,
    label: str,
    processes: DistributedContext,
) -> list[T]:
    results = []
    total = sum(map(len, chunks))
    hidden = not processes.is_main
    with (
        one_worker_per_thread(device) as workers,
        tqdm(total=total, desc=label, unit="clip", delay=SLOW_SECONDS, disable=hidden) as progress,
    ):
        try:
            for chunk, result in zip(chunks, workers.map(work, chunks), strict=True):
                results.append(result)
                progress.update(len(chunk))
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    return results
