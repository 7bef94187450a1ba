"""Prompts and seeds to frames. A seed belongs to one clip, so clips do not depend on each other."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from t2vgan.checkpoint.weights import WeightsInfo, load_weights
from t2vgan.errors import UserError
from t2vgan.models import build_generator
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary
from t2vgan.video import to_frames

# (clips, pixels) of a pass, at most. Larger passes of small clips save a third of a CPU's work; a
# video alone costs a whole pass, so that large clips do not share one.
CPU_PASS = (8, 2**19)
ACCELERATOR_PASS = (64, 2**22)
MAX_CLIP_PIXELS = 2**28  # 3 GB as a video in float32; one pass draws a whole clip
NUM_PROBES = 4


@dataclass(frozen=True)
class LoadedGenerator:
    """A trained generator in evaluation mode, the words it knows, and where it comes from."""

    generator: nn.Module
    vocabulary: Vocabulary
    info: WeightsInfo


def load_generator(path: Path | str, *, device: torch.device | str = "cpu") -> LoadedGenerator:
    """Build the generator of a weights file, or of a run folder's best weights.

    Raises UserError for weights that are missing, damaged or do not fit their own description.
    """
    tensors, info = load_weights(path)
    vocabulary = Vocabulary(info.words)
    with AtMost(sum(tensor.numel() for tensor in tensors.values()), path):
        generator = build_generator(
            info.model, height=info.height, width=info.width, vocabulary_size=len(vocabulary)
        )
    check_tensors(path, tensors, expected=generator.state_dict())
    generator.load_state_dict(tensors)
    return LoadedGenerator(generator.to(device).eval(), vocabulary, info)


class AtMost(TorchFunctionMode):
    """Refuse to allocate more parameters than a file can fill, whatever sizes it claims.

    A network built on the "meta" device would tell its size too, but that costs 3 s of imports.
    """

    def __init__(self, num_elements: int, path: Path | str) -> None:
        super().__init__()
        self.num_left = num_elements
        self.path = path

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.empty:  # how torch.nn's layers make their parameters
            self.num_left -= math.prod(args[0]) if isinstance(args[0], tuple) else args[0]
            if self.num_left < 0:
                raise UserError(f"weights {self.path}: describes a larger model than it holds")
        return function(*args, **(kwargs or {}))


def check_tensors(
    path: Path | str, tensors: dict[str, Tensor], *, expected: dict[str, Tensor]
) -> None:
    """Raise UserError unless the tensors have the names and shapes of a model's state."""
    for name in sorted(tensors.keys() | expected.keys()):
        found, wanted = (
            str(tuple(state[name].shape)) if name in state else "missing"
            for state in (tensors, expected)
        )
        if found != wanted:
            raise UserError(
                f"weights {path}: tensor {name} is {found}, but {wanted} in the model described: "
                "use the t2vgan version that wrote it"
            )


def choose_batch_size(loaded: LoadedGenerator, num_frames: int) -> int:
    """Return how many clips `generate_clips` should draw a pass: more than one only if exact.

    Every pass has the same shape whatever is asked for, so other clips can reach a clip's bytes
    only through its place, where kernels may treat a tensor's last rows unlike the first. Passes
    with the same clip in every place tell; where places differ, each clip has its own pass. Several
    passes, because rows that are computed otherwise often come out the same.

    Raises UserError for clips that are too large to draw, whatever the weights claim to make.
    """
    device = next(loaded.generator.parameters()).device
    height, width = loaded.info.height, loaded.info.width
    if (pixels := num_frames * height * width) > MAX_CLIP_PIXELS:
        raise UserError(
            f"clips of {num_frames} frames of {height}x{width} are too large: at most"
            f" {MAX_CLIP_PIXELS:,} pixels are drawn at once; ask for fewer frames (--num-frames)"
        )
    most, pixels_a_pass = CPU_PASS if device.type == "cpu" else ACCELERATOR_PASS
    size = 1 << max(1, min(most, pixels_a_pass // pixels)).bit_length() - 1
    if size == 1:
        return 1
    token_ids = (torch.arange(MAX_TOKENS) % len(loaded.vocabulary)).expand(size, -1)
    token_mask = torch.ones_like(token_ids, dtype=torch.bool)

    def places_agree(seed: int) -> bool:
        video = draw_pass(loaded.generator, token_ids, token_mask, [seed] * size, num_frames)
        return all(torch.equal(clip, video[0]) for clip in video)

    with one_worker_per_thread(device) as workers:
        return size if all(workers.map(places_agree, range(NUM_PROBES))) else 1


def generate_clips(
    generator: nn.Module,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    num_frames: int,
    batch_size: int = 1,
    allow_unknown: bool = False,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Return frames (N, T, H, W, 3) uint8: clip i shows prompts[i], drawn from seeds[i].

    Every pass draws `batch_size` clips, the last one filled up, so that all are computed alike;
    with the size that `choose_batch_size` returns, a clip's bytes depend on its own prompt and seed
    alone. Time runs from 0 to 1 in every clip: more frames are the same motion, finer.
    `should_stop` is asked after each pass; once it says yes, the clips made so far are returned.
    Raises UserError for prompts that are empty or of unknown words, before any work.
    """
    # One length for all prompts, because the grouping of a sum over words depends on it.
    tokens = vocabulary.encode(prompts, allow_unknown=allow_unknown, length=MAX_TOKENS)
    token_ids, token_mask = map(torch.from_numpy, tokens)

    def generate_pass(start: int) -> np.ndarray:
        num_wanted = min(batch_size, len(prompts) - start)
        places = [start + min(place, num_wanted - 1) for place in range(batch_size)]
        video = draw_pass(
            generator,
            token_ids[places],
            token_mask[places],
            [seeds[place] for place in places],
            num_frames,
        )
        return to_frames(video[:num_wanted]).cpu().numpy()

    clips = []
    with one_worker_per_thread(next(generator.parameters()).device) as workers:
        for frames in workers.map(generate_pass, range(0, len(prompts), batch_size)):
            clips.append(frames)
            if should_stop is not None and should_stop():
                workers.shutdown(cancel_futures=True)
                break
    return np.concatenate(clips)


@torch.no_grad()
def draw_pass(
    generator: nn.Module,
    token_ids: Tensor,
    token_mask: Tensor,
    seeds: Sequence[int],
    num_frames: int,
) -> Tensor:
    """Draw a video (B, 3, T, H, W) in one pass: token_ids and token_mask (B, L), B seeds."""
    device = next(generator.parameters()).device
    latents = draw_latents(generator.latent_shape(num_frames), seeds)  # type: ignore[operator]
    times = torch.linspace(0, 1, num_frames, device=device).expand(len(seeds), -1)
    return generator(latents.to(device), token_ids.to(device), token_mask.to(device), times)


def draw_latents(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Return normal latents (B, *shape), each from its own seed; the same for every device."""
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=source) for source in sources])


@contextmanager
def one_worker_per_thread(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Trade PyTorch's threads within an operation for as many workers with one thread each.

    On a CPU one pass is too little work to share, and now no result depends on the number of
    threads. An accelerator has one worker.
    """
    num_threads = torch.get_num_threads()
    num_workers = num_threads if device.type == "cpu" else 1
    torch.set_num_threads(1)  # inherited by the workers, whose threads start after this
    try:
        with ThreadPoolExecutor(num_workers) as workers:
            yield workers
    finally:
        torch.set_num_threads(num_threads)
