"""Generate videos from prompts and seeds, each independent of the others."""

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.errors import UserError
from t2vgan.pipeline.clip_drawer import ClipDrawer
from t2vgan.pipeline.hub import find_pretrained, upload_model
from t2vgan.pipeline.loading import load_generator
from t2vgan.pipeline.model_folder import write_model_folder
from t2vgan.pipeline.prompt_reader import PromptReader, list_prompts
from t2vgan.pipeline.videos import Output, Videos, check_call
from t2vgan.prompts.matching import PromptMatch
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.drawing_limits import check_drawing, check_seeds


@dataclass(eq=False, repr=False)
class TextToVideo:
    """Draw videos from prompts and seeds with a trained generator.

    >>> from t2vgan import TextToVideo
    >>> pipe = TextToVideo.from_pretrained("circles")
    >>> videos = pipe("circle moving up-right", num_videos=2, seed=0)
    >>> videos.videos.shape
    (2, 10, 64, 64, 3)
    >>> [path.name for path in videos.save("circle.gif")]
    ['circle-0.gif', 'circle-1.gif']
    """

    generator: nn.Module
    """The generator in evaluation mode, on the device used for drawing."""
    vocabulary: Vocabulary
    info: WeightsInfo

    def __post_init__(self) -> None:
        self._drawer = ClipDrawer(self.generator, self.info)
        self._reader = PromptReader(self.vocabulary, self.info)

    @classmethod
    def from_pretrained(
        cls,
        weights: Path | str,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "TextToVideo":
        """Load weights by shipped name, file, folder or Hub id.

        A folder is that of a run (its best weights) or of `save_pretrained`; an id, owner/name, is
        downloaded once from the Hugging Face Hub.

        Raises:
            UserError: the weights are missing, damaged or do not match their description.
        """
        return cls(*load_generator(find_pretrained(weights))).to(device, dtype)

    def save_pretrained(
        self,
        folder: Path | str,
        *,
        evaluation: Path | str | None = None,
        license: str | None = None,
    ) -> None:
        """Save a model folder, which `from_pretrained` loads on any machine.

        It holds model.safetensors, config.json (a copy of the description in the weights), a film
        of some prompts (sample.gif) and a model card (README.md). The card shows the scores of
        `evaluation`, the record that `t2vgan evaluate` wrote for these weights.

        Raises:
            UserError: the folder is a file, or the evaluation is of other weights.
            OSError: writing failed.
        """
        write_model_folder(Path(folder), self, evaluation=evaluation, license=license)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        evaluation: Path | str | None = None,
        license: str | None = None,
        private: bool = False,
        token: str | None = None,
    ) -> str:
        """Upload a model folder to the Hugging Face Hub; return its URL.

        The repository owner/name is created if it does not exist. `token` defaults to that of the
        login. Other arguments are those of `save_pretrained`.

        Raises:
            UserError: as `save_pretrained`, or the Hub refuses or cannot be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, evaluation=evaluation, license=license)
            return upload_model(Path(folder), repo_id, private=private, token=token)

    def __repr__(self) -> str:
        info = self.info
        return (
            f"<TextToVideo: {len(info.prompts)} prompts, {info.num_frames} frames of "
            f"{info.height}x{info.width} at {info.fps:g} frames/s, step {info.step}>"
        )

    def to(
        self,
        device: torch.device | str | torch.dtype | None = None,
        dtype: torch.dtype | None = None,
    ) -> "TextToVideo":
        """Move to a device, or set the precision; return the pipeline.

        The precision may stand alone, as in PyTorch: `to(torch.bfloat16)`.

        In bfloat16 or float16 only convolutions use that type, as in training with mixed precision:
        codes of times and prompts stay in float32, because motions would jitter otherwise.

        Raises:
            UserError: there is no such device, or the type is not float32, bfloat16 or float16.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        self._drawer.move(device, dtype)
        return self

    @property
    def device(self) -> torch.device:
        return self._drawer.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the convolutions; see `to`."""
        return self._drawer.dtype

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        num_videos: int = 1,
        seed: int = 0,
        num_frames: int | None = None,
        truncation: float = 1.0,
        output: Output = "numpy",
        allow_unknown: bool = False,
        strict: bool = False,
    ) -> Videos:
        """Draw `num_videos` videos of each prompt, in order.

        Video i of a prompt is drawn from seed + i; the same prompt and seed give the same bytes in
        any call. `num_frames` as in `generate`. `truncation` from 1 (as in training) down to 0
        makes videos more typical and less varied. `output` is numpy, pil or torch; see `Videos`. A
        prompt that was not used in training is read as the nearest known one, which is logged
        (`match_prompts`); with `strict` it is refused. With `allow_unknown` the prompt's own words
        are used, without unknown ones.

        Raises:
            UserError: a prompt has no word that the model knows, or a number is out of range.
        """
        prompts = list_prompts(prompt)
        if not prompts:
            raise UserError("prompt=[]: must hold at least one prompt")
        check_call(self.info, len(prompts), num_videos, seed, num_frames, truncation, output)
        repeated = [text for text in prompts for _ in range(num_videos)]
        frames = self.generate(
            repeated,
            [seed + number for _ in prompts for number in range(num_videos)],
            num_frames=num_frames,
            truncation=truncation,
            allow_unknown=allow_unknown,
            strict=strict,
        )
        return Videos(frames, tuple(repeated), self.info.fps, output)

    def interpolate(
        self,
        prompt_a: str,
        prompt_b: str,
        *,
        num_videos: int = 8,
        seed_a: int = 0,
        seed_b: int = 1,
        num_frames: int | None = None,
        truncation: float = 1.0,
        output: Output = "numpy",
        batch_size: int | None = None,
        allow_unknown: bool = False,
        strict: bool = False,
    ) -> Videos:
        """Draw videos that interpolate between two prompts and seeds.

        The first video is that of `prompt_a` and `seed_a`, the last that of `prompt_b` and
        `seed_b`; in between, both latents and text codes are interpolated (`slerp`). With equal
        seeds only the prompt changes, with equal prompts only the latents. `batch_size` is as in
        `generate`, other arguments as in a call.

        Raises:
            UserError: as in a call, or there are fewer than two videos.
        """
        for seed in (seed_a, seed_b):
            check_call(self.info, 1, num_videos, seed, num_frames, truncation, output)
        if num_videos < 2:
            raise UserError(f"num_videos={num_videos}: must be at least 2 (the two ends)")
        weights = torch.linspace(0, 1, num_videos)
        ends = [
            (self._reader.encode([prompt], allow_unknown=allow_unknown, strict=strict), int(seed))
            for prompt, seed in ((prompt_a, seed_a), (prompt_b, seed_b))
        ]
        frames = self._drawer.draw_between(
            ends, weights, self._num_frames(num_frames), truncation, batch_size
        )
        labels = [f"{prompt_a} > {prompt_b}, {100 * float(share):.0f} %" for share in weights]
        return Videos(frames, tuple(labels), self.info.fps, output)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        num_frames: int | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
        allow_unknown: bool = False,
        strict: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Generate clips as frames (N, T, H, W, 3) uint8.

        Clip i shows prompts[i], drawn from seeds[i]. Every pass draws `batch_size` clips, the last
        one padded, so that all are computed alike; with the default, `choose_batch_size`, a clip's
        bytes depend on its own prompt and seed only. Time runs from 0 to 1 in every clip. The
        default is as many frames as in training; more frames sample the same motion more finely, on
        a smooth curve along the trained frames. Prompts are read as in a call. `should_stop` is
        called after each pass; once it returns true, the clips drawn so far are returned.

        Raises:
            UserError: before any work, if a prompt has no word that the model knows, or a number is
                out of range.
        """
        clips = []
        passes = self._generate_passes(
            prompts, seeds, num_frames, truncation, batch_size, allow_unknown, strict
        )
        with closing(passes):
            for frames in passes:
                clips.append(frames)
                if should_stop is not None and should_stop():
                    break
        return np.concatenate(clips)

    def iter_clips(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        num_frames: int | None = None,
        truncation: float = 1.0,
        allow_unknown: bool = False,
        strict: bool = False,
    ) -> Iterator[np.ndarray]:
        """Yield the clips of `generate` as they are drawn.

        Each is (T, H, W, 3) uint8. A bounded number is in memory. Until the iterator ends, PyTorch
        uses one thread.
        """
        passes = self._generate_passes(
            prompts, seeds, num_frames, truncation, None, allow_unknown, strict
        )
        with closing(passes):
            for frames in passes:
                yield from frames

    def choose_batch_size(self, num_frames: int) -> int:
        """Return the number of clips per pass; several only if exact.

        Raises:
            UserError: clips are too large to draw.
        """
        return self._drawer.choose_batch_size(num_frames)

    def match_prompts(
        self, prompts: Sequence[str], *, strict: bool = False
    ) -> dict[str, PromptMatch]:
        """Find the known prompt that a call would draw for each prompt.

        Raises:
            UserError: a prompt has no word that the model knows; with `strict`, a prompt is not
                known.
        """
        return self._reader.match(list_prompts(prompts), strict=strict)

    def _generate_passes(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        num_frames: int | None,
        truncation: float,
        batch_size: int | None,
        allow_unknown: bool,
        strict: bool,
    ) -> Generator[np.ndarray, None, None]:
        if isinstance(prompts, str) or not 0 < len(prompts) == len(seeds):
            raise ValueError("prompts and seeds must be lists of equal length, at least 1")
        check_drawing(num_videos=1, seed=0, num_frames=num_frames, truncation=truncation)
        seeds = check_seeds(seeds)
        drawer = self._drawer
        tokens = self._reader.encode(prompts, allow_unknown=allow_unknown, strict=strict)
        length = self._num_frames(num_frames)

        def draw(numbers: Sequence[int]) -> Tensor:
            latents = drawer.draw_latents([seeds[n] for n in numbers], length, truncation)
            return drawer.draw_video(latents, drawer.encode_text(tokens, numbers), length)

        return drawer.draw_passes(draw, len(prompts), length, batch_size)

    def _num_frames(self, num_frames: int | None) -> int:
        return self.info.num_frames if num_frames is None else int(num_frames)
