"""Run a generator on clips given by latents and text codes."""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.errors import UserError
from t2vgan.pipeline.latents import draw_latents, slerp
from t2vgan.pipeline.passes import DrawPass, check_clip_size, choose_batch_size, draw_in_passes
from t2vgan.tokenizer import MAX_TOKENS
from t2vgan.utils.console import first_line

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

Tokens = tuple[Tensor, Tensor]
"""token_ids and token_mask of clips, (N, MAX_TOKENS)."""


@dataclass(eq=False)
class ClipDrawer:
    """Draw latents, text codes and videos on the generator's device."""

    generator: nn.Module
    info: WeightsInfo
    dtype: torch.dtype = torch.float32
    _batch_sizes: dict[int, int] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    def move(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Set the device and the data type; see `TextToVideo.to`."""
        dtype = self.dtype if dtype is None else dtype
        if dtype not in DTYPES:
            names = ", ".join(str(known) for known in DTYPES)
            raise UserError(f"dtype={dtype}: must be one of {names}")
        try:
            self.generator.to(self.device if device is None else device)
        except (RuntimeError, AssertionError) as error:  # no such device, or PyTorch lacks support
            raise UserError(
                f"device={device}: {first_line(error)}; use cpu, or cuda on a GPU"
            ) from None
        self.dtype = dtype
        self._batch_sizes.clear()

    def draw_latents(self, seeds: Sequence[int], num_frames: int, truncation: float) -> Tensor:
        """Draw the latents (B, ...) of clips of `num_frames` frames."""
        shape = self.generator.latent_shape(num_frames)  # type: ignore[operator]
        return draw_latents(shape, seeds, truncation)

    @torch.no_grad()
    def encode_text(self, tokens: Tokens, numbers: Sequence[int]) -> Tensor:
        """Encode the prompts of clips `numbers`: text codes (B, E)."""
        token_ids, token_mask = (part[numbers].to(self.device) for part in tokens)
        return self.generator.encode_text(token_ids, token_mask)  # type: ignore[operator]

    @torch.no_grad()
    def draw_video(self, latents: Tensor, text: Tensor, num_frames: int) -> Tensor:
        """Draw a video (B, 3, T, H, W) in one forward pass.

        latents (B, ...), text (B, E).
        """
        device, trained = self.device, self.info.num_frames
        times = torch.linspace(0, 1, num_frames, device=device).expand(len(latents), -1)
        is_full = self.dtype == torch.float32
        with nullcontext() if is_full else torch.autocast(device.type, self.dtype):
            return self.generator.draw_video(  # type: ignore[operator]
                latents.to(device), text, times, None if num_frames == trained else trained
            )

    def draw_passes(
        self, draw: DrawPass, num_clips: int, num_frames: int, batch_size: int | None
    ) -> Generator[np.ndarray, None, None]:
        """Yield the frames of each pass; see `draw_in_passes`."""
        size = self.choose_batch_size(num_frames) if batch_size is None else batch_size
        if size < 1:
            raise UserError(f"batch_size={size}: must be at least 1")
        return draw_in_passes(draw, num_clips=num_clips, batch_size=size, device=self.device)

    def draw_between(
        self,
        ends: Sequence[tuple[Tokens, int]],
        weights: Tensor,
        num_frames: int,
        truncation: float,
        batch_size: int | None,
    ) -> np.ndarray:
        """Draw clips that interpolate between two ends.

        An end is a prompt's tokens and a seed. weights (N,), the shares of the second end in
        latents and text codes (`slerp`) -> (N, T, H, W, 3).
        """

        def draw(numbers: Sequence[int]) -> Tensor:
            latents_a, latents_b = (
                self.draw_latents([seed] * len(numbers), num_frames, truncation) for _, seed in ends
            )
            text_a, text_b = (self.encode_text(tokens, [0] * len(numbers)) for tokens, _ in ends)
            shares = weights[numbers]
            text = slerp(text_a, text_b, shares)
            return self.draw_video(slerp(latents_a, latents_b, shares), text, num_frames)

        return np.concatenate(list(self.draw_passes(draw, len(weights), num_frames, batch_size)))

    def choose_batch_size(self, num_frames: int) -> int:
        """Return the number of clips per pass; see `choose_batch_size`."""
        height, width = self.info.height, self.info.width
        check_clip_size(num_frames, height, width)
        if num_frames not in self._batch_sizes:
            token_ids = (torch.arange(MAX_TOKENS) % (len(self.info.words) + 1)).unsqueeze(0)
            tokens = token_ids, torch.ones_like(token_ids, dtype=torch.bool)

            def draw_same(seed: int, size: int) -> Tensor:
                latents = self.draw_latents([seed] * size, num_frames, 1.0)
                return self.draw_video(latents, self.encode_text(tokens, [0] * size), num_frames)

            num_pixels = num_frames * height * width
            self._batch_sizes[num_frames] = choose_batch_size(num_pixels, self.device, draw_same)
        return self._batch_sizes[num_frames]
