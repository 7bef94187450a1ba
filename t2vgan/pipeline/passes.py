"""Draw clips in passes of bounded size, each independent of the others."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from t2vgan.errors import UserError
from t2vgan.media.clips import MAX_CLIP_PIXELS
from t2vgan.video import to_frames

# Largest (clips, pixels) per pass. Larger passes of small clips save a third of a CPU's time; a
# single clip costs a full pass, so large clips do not share one.
CPU_PASS = (8, 2**19)
ACCELERATOR_PASS = (64, 2**22)
NUM_PROBES = 4
PASSES_AHEAD = 2  # per worker, that wait to be read

DrawPass = Callable[[Sequence[int]], Tensor]
"""Draw clips, given by their numbers, in one forward pass: a video (B, 3, T, H, W)."""


def draw_in_passes(
    draw_pass: DrawPass, *, num_clips: int, batch_size: int, device: torch.device
) -> Generator[np.ndarray, None, None]:
    """Yield the frames of each pass in order.

    They are (n, T, H, W, 3) uint8. Every pass draws `batch_size` clips, the last one padded, so
    that all are computed alike. A bounded number of passes wait in memory. Until the iterator is
    closed, PyTorch uses one thread.
    """

    def draw(start: int) -> np.ndarray:
        num_wanted = min(batch_size, num_clips - start)
        numbers = [start + min(place, num_wanted - 1) for place in range(batch_size)]
        return to_frames(draw_pass(numbers)[:num_wanted]).cpu().numpy()

    most_waiting = PASSES_AHEAD * torch.get_num_threads()
    waiting: deque[Future[np.ndarray]] = deque()
    with one_worker_per_thread(device) as workers:
        try:
            for start in range(0, num_clips, batch_size):
                waiting.append(workers.submit(draw, start))
                if len(waiting) > most_waiting:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            workers.shutdown(cancel_futures=True)


def check_clip_size(num_frames: int, height: int, width: int) -> None:
    """Raise UserError for clips that are too large to draw."""
    if num_frames * height * width > MAX_CLIP_PIXELS:
        raise UserError(
            f"clips of {num_frames} frames of {height}x{width} are too large: at most "
            f"{MAX_CLIP_PIXELS:,} pixels can be drawn at once; use fewer frames "
            "(--num-frames)"
        )


def choose_batch_size(
    num_pixels: int, device: torch.device, draw_same: Callable[[int, int], Tensor]
) -> int:
    """Return the number of clips of `num_pixels` pixels per pass.

    It is more than one only if results are exact. Every pass has the same shape, so other clips can
    change a clip's bytes only through its position in the batch, because kernels may compute a
    tensor's last rows differently. This is tested by passes with the same clip in every position;
    if positions differ, each clip gets its own pass. Several passes are tested, because rows that
    are computed differently often have equal results. `draw_same` draws one clip, given by a seed,
    in every position of a batch.
    """
    most, pixels_per_pass = CPU_PASS if device.type == "cpu" else ACCELERATOR_PASS
    size = 1 << max(1, min(most, pixels_per_pass // num_pixels)).bit_length() - 1
    if size == 1:
        return size

    def places_agree(seed: int) -> bool:
        video = draw_same(seed, size)
        return all(torch.equal(clip, video[0]) for clip in video)

    with one_worker_per_thread(device) as workers:
        return size if all(workers.map(places_agree, range(NUM_PROBES))) else 1


@contextmanager
def one_worker_per_thread(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Replace PyTorch's intra-op threads by as many single-threaded workers.

    A pass is too little work to be split over threads, and this way results do not depend on the
    number of threads. An accelerator has one worker.
    """
    num_threads = torch.get_num_threads()
    num_workers = num_threads if device.type == "cpu" else 1
    torch.set_num_threads(1)  # inherited by the workers, which start after this
    try:
        with ThreadPoolExecutor(num_workers) as workers:
            yield workers
    finally:
        torch.set_num_threads(num_threads)
