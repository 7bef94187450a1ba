"""Generate clips from prompts and seeds, each independent of the others."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from t2vgan.checkpoint.tensor_files import add_missing, format_tensor
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
MAX_TRAINED_FRAMES = 2**16  # codes of all of them are computed to draw between them
NUM_PROBES = 4


@dataclass(frozen=True)
class TextToVideo:
    """Draw clips from prompts and seeds with a trained generator.

    >>> from t2vgan import TextToVideo
    >>> from t2vgan.media import save_clip
    >>> pipeline = TextToVideo.from_pretrained("circles")
    >>> clips = pipeline.generate(["circle moving up-right"], seeds=[0])
    >>> save_clip("circle.gif", clips[0])
    """

    generator: nn.Module
    """In evaluation mode, on the device that draws."""
    vocabulary: Vocabulary
    info: WeightsInfo
    _batch_sizes: dict[int, int] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_pretrained(
        cls, weights: Path | str, *, device: torch.device | str = "cpu"
    ) -> "TextToVideo":
        """Load a weights file, a run folder's best weights, or shipped weights.

        Raises:
            UserError: the weights are missing, damaged or do not fit their own description.
        """
        tensors, info = load_weights(weights)
        if info.num_frames > MAX_TRAINED_FRAMES:
            raise UserError(
                f"weights {weights}: clips of {info.num_frames} frames are too long: at most "
                f"{MAX_TRAINED_FRAMES:,}; train on shorter clips"
            )
        vocabulary = Vocabulary(info.words)
        with AllocationLimit(sum(tensor.numel() for tensor in tensors.values()), weights):
            generator = build_generator(
                info.model, height=info.height, width=info.width, vocabulary_size=len(vocabulary)
            )
        tensors = add_missing(tensors, generator.state_dict())
        check_tensors(weights, tensors, expected=generator.state_dict())
        generator.load_state_dict(tensors)
        return cls(generator.to(device).eval(), vocabulary, info)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        num_frames: int | None = None,
        batch_size: int | None = None,
        allow_unknown: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Generate clips as frames (N, T, H, W, 3) uint8.

        Clip i shows prompts[i], drawn from seeds[i]. Every pass draws `batch_size` clips, the last
        one filled up, so that all are computed alike; with the default, `choose_batch_size`, a
        clip's bytes depend on its own prompt and seed only. Time runs from 0 to 1 in every clip:
        more frames than in training, the default, are the same motion, finer, on a smooth curve
        along the trained frames. `should_stop` is called after each pass; once it returns true,
        the clips made so far are returned.

        Raises:
            UserError: a prompt is empty or has unknown words; before any work.
        """
        if isinstance(prompts, str) or not 0 < len(prompts) == len(seeds):
            raise ValueError("prompts and seeds must be lists of equal length, at least 1")
        num_frames = self.info.num_frames if num_frames is None else num_frames
        # One length for all prompts, because the grouping of a sum over words depends on it.
        tokens = self.vocabulary.encode(prompts, allow_unknown=allow_unknown, length=MAX_TOKENS)
        token_ids, token_mask = map(torch.from_numpy, tokens)
        size = self.choose_batch_size(num_frames) if batch_size is None else batch_size

        def draw_batch(start: int) -> np.ndarray:
            num_wanted = min(size, len(prompts) - start)
            indices = [start + min(place, num_wanted - 1) for place in range(size)]
            pass_seeds = [seeds[index] for index in indices]
            video = self._draw_pass(token_ids[indices], token_mask[indices], pass_seeds, num_frames)
            return to_frames(video[:num_wanted]).cpu().numpy()

        clips = []
        with one_worker_per_thread(self.device) as workers:
            for frames in workers.map(draw_batch, range(0, len(prompts), size)):
                clips.append(frames)
                if should_stop is not None and should_stop():
                    workers.shutdown(cancel_futures=True)
                    break
        return np.concatenate(clips)

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    def choose_batch_size(self, num_frames: int) -> int:
        """Return how many clips a pass draws: several only if exact.

        Every pass has the same shape whatever is asked for, so other clips can change a clip's
        bytes only through its place, where kernels may treat a tensor's last rows unlike the
        first. Passes with the same clip in every place show that; where places differ, each clip
        has its own pass. Several passes, because rows that are computed otherwise often come out
        the same.

        Raises:
            UserError: clips are too large to draw, whatever the weights claim to make.
        """
        height, width = self.info.height, self.info.width
        if (pixels := num_frames * height * width) > MAX_CLIP_PIXELS:
            raise UserError(
                f"clips of {num_frames} frames of {height}x{width} are too large: at most "
                f"{MAX_CLIP_PIXELS:,} pixels are drawn at once; ask for fewer frames "
                "(--num-frames)"
            )
        if num_frames not in self._batch_sizes:
            most, pixels_per_pass = CPU_PASS if self.device.type == "cpu" else ACCELERATOR_PASS
            size = 1 << max(1, min(most, pixels_per_pass // pixels)).bit_length() - 1
            is_exact = size == 1 or self._is_exact(size, num_frames)
            self._batch_sizes[num_frames] = size if is_exact else 1
        return self._batch_sizes[num_frames]

    def _is_exact(self, batch_size: int, num_frames: int) -> bool:
        token_ids = (torch.arange(MAX_TOKENS) % len(self.vocabulary)).expand(batch_size, -1)
        token_mask = torch.ones_like(token_ids, dtype=torch.bool)

        def places_agree(seed: int) -> bool:
            seeds = [seed] * batch_size
            video = self._draw_pass(token_ids, token_mask, seeds, num_frames)
            return all(torch.equal(clip, video[0]) for clip in video)

        with one_worker_per_thread(self.device) as workers:
            return all(workers.map(places_agree, range(NUM_PROBES)))

    @torch.no_grad()
    def _draw_pass(
        self, token_ids: Tensor, token_mask: Tensor, seeds: Sequence[int], num_frames: int
    ) -> Tensor:
        """Draw a video (B, 3, T, H, W) in one forward pass.

        token_ids and token_mask (B, L), B seeds.
        """
        device = self.device
        latents = draw_latents(self.generator.latent_shape(num_frames), seeds)  # type: ignore[operator]
        times = torch.linspace(0, 1, num_frames, device=device).expand(len(seeds), -1)
        trained_frames = None if num_frames == self.info.num_frames else self.info.num_frames
        return self.generator(
            latents.to(device), token_ids.to(device), token_mask.to(device), times, trained_frames
        )


class AllocationLimit(TorchFunctionMode):
    """Refuse to allocate more parameters than a file can fill.

    A network built on the "meta" device would give its size too, but that costs 3 s of imports.
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
    """Raise UserError unless names, shapes and dtypes are those expected."""
    for name in sorted(tensors.keys() | expected.keys()):
        found, wanted = format_tensor(tensors.get(name)), format_tensor(expected.get(name))
        if found != wanted:
            raise UserError(
                f"weights {path}: tensor {name} is {found}, but {wanted} in the model described: "
                "use the t2vgan version that wrote it"
            )


def draw_latents(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Draw latents (B, *shape), each from its seed, equal on every device."""
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=source) for source in sources])


@contextmanager
def one_worker_per_thread(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Replace PyTorch's intra-op threads by as many single-threaded workers.

    One pass is too little work for a CPU to split, and so no result depends on the number of
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
