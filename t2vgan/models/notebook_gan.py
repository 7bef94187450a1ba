"""The published notebook's networks, unchanged (2,477,251 and 675,265 parameters).

The generator draws single 64x64 frames from 100 latents and the mean of untrained ten-dimensional
word embeddings. The discriminator sees one frame, but neither prompt nor time.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.errors import UserError
from t2vgan.models.casting import Conv2d, ConvTranspose2d, Linear

LATENT_SIZE = 100
TEXT_SIZE = 10
FRAME_SIZE = 64


class NotebookGenerator(nn.Module):
    """Draw independent frames from latents and a prompt."""

    word_vectors: Tensor

    def __init__(self, *, height: int, width: int, vocabulary_size: int) -> None:
        super().__init__()
        check_frame_size(height, width)
        # Not trained, as published: words are represented by fixed random vectors.
        self.register_buffer("word_vectors", torch.randn(vocabulary_size, TEXT_SIZE))
        self.layout = Linear(LATENT_SIZE + TEXT_SIZE, 256 * 8 * 8)
        self.to_16 = ConvTranspose2d(256, 128, 4, stride=2, padding=1)
        self.to_32 = ConvTranspose2d(128, 64, 4, stride=2, padding=1)
        self.to_64 = ConvTranspose2d(64, 3, 4, stride=2, padding=1)

    def latent_shape(self, num_frames: int) -> tuple[int, ...]:
        """Return the shape of one clip's latents: every frame has its own."""
        return (num_frames, LATENT_SIZE)

    def forward(
        self,
        latents: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        times: Tensor,
        trained_frames: int | None = None,
    ) -> Tensor:
        """Draw K frames of each clip; times are ignored, as published.

        latents (B, K, 100), token_ids and token_mask (B, L) -> video (B, 3, K, 64, 64).
        """
        return self.draw_video(latents, self.encode_text(token_ids, token_mask), times)

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Encode token_ids (B, L), token_mask (B, L): text codes (B, 10)."""
        words = self.word_vectors[token_ids] * token_mask.unsqueeze(-1)  # B L 10
        return words.sum(1) / token_mask.sum(1, keepdim=True)

    def draw_video(
        self, latents: Tensor, text: Tensor, times: Tensor, trained_frames: int | None = None
    ) -> Tensor:
        """Draw K frames of each clip from its latents and text code.

        latents (B, K, 100), text (B, 10) -> video (B, 3, K, 64, 64).
        """
        text = text.unsqueeze(1).expand(-1, latents.shape[1], -1)  # B K 10
        inputs = rearrange(torch.cat([latents, text], dim=-1), "b k e -> (b k) e")
        maps = self.layout(inputs).view(-1, 256, 8, 8)  # (B K) 256 8 8
        maps = F.relu(self.to_16(maps.contiguous(memory_format=torch.channels_last)))
        maps = F.relu(self.to_32(maps))  # (B K) 64 32 32
        frames = torch.tanh(self.to_64(maps))  # (B K) 3 64 64
        return rearrange(frames, "(b k) c h w -> b c k h w", k=latents.shape[1])


class NotebookDiscriminator(nn.Module):
    """Score single frames; the sigmoid is part of the loss."""

    def __init__(self, *, height: int, width: int) -> None:
        super().__init__()
        check_frame_size(height, width)
        self.to_32 = Conv2d(3, 64, 4, stride=2, padding=1)
        self.to_16 = Conv2d(64, 128, 4, stride=2, padding=1)
        self.to_8 = Conv2d(128, 256, 4, stride=2, padding=1)
        self.head = Linear(256 * 8 * 8, 1)

    def forward(
        self,
        video: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        times: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score each clip's one frame; prompt and times are ignored, as published.

        video (B, 3, 1, 64, 64) -> logits (B,), recovered latents (B, 0).
        """
        if tuple(video.shape[1:]) != (3, 1, FRAME_SIZE, FRAME_SIZE):
            raise ValueError(f"video has shape {tuple(video.shape)}, expected (B, 3, 1, 64, 64)")
        maps = video.squeeze(2).contiguous(memory_format=torch.channels_last)  # B 3 64 64
        maps = F.leaky_relu(self.to_32(maps), 0.2)  # B 64 32 32
        maps = F.leaky_relu(self.to_16(maps), 0.2)  # B 128 16 16
        maps = F.leaky_relu(self.to_8(maps), 0.2)  # B 256 8 8
        logits = self.head(maps.flatten(1)).squeeze(1)  # B
        return logits, logits.new_zeros(len(logits), 0)


def check_frame_size(height: int, width: int) -> None:
    """Raise UserError unless frames are 64x64, the published networks' size."""
    if (height, width) != (FRAME_SIZE, FRAME_SIZE):
        raise UserError(
            f"frames of {height}x{width}: the notebook's networks need {FRAME_SIZE}x{FRAME_SIZE};"
            " build shards with --size 64x64, or train another preset"
        )
