"""The discriminator of the clip GAN: it scores frames, pairs and clips."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig
from t2vgan.models.casting import Conv2d, Linear, to_autocast
from t2vgan.models.layers import (
    NO_MEAN,
    RGB,
    UNIT_STD,
    ResidualBlock,
    Standardizer,
    TimeFeatures,
    channels_first,
    repeat_clips,
    to_float32,
    upsample2x,
)
from t2vgan.models.moments import MomentChanges
from t2vgan.models.motion import MotionTrunk
from t2vgan.models.patches import FromPatches, FromPixels, compute_grid
from t2vgan.models.phrase_head import PhraseHead
from t2vgan.models.text_encoders import build_text_encoder, encode_by_all


class Discriminator(nn.Module):
    """Score a video with its prompt, and predict a fake's latents.

    One trunk encodes every frame separately; with `motion_channels`, another encodes each pair of
    successive frames. Heads score each frame, each pair, and all frames in order with their times.
    All are conditioned on the prompt by projection (Miyato and Koyama, ICLR 2018): if only the
    clip's head were, what a single frame shows (such as a colour) or a pair (such as a pan) would
    not be learned (dev/LOG.md). With `moments` the clip's head also sees how areas and centres
    change. A last head predicts the first latents from all frames (InfoGAN, Chen et al., NeurIPS
    2016). For prompts of several phrases, a further head looks for each phrase's object.

    Heads run in float32: losses depend on small differences, and bfloat16 has 8 significant bits.
    """

    def __init__(
        self,
        model: ClipGanConfig,
        *,
        height: int,
        width: int,
        vocabulary_size: int,
        frames_per_clip: int,
        recovered_latents: int,
        mismatched_prompts: int = 1,
        trains_offset: bool = True,
        pixel_mean: Sequence[float] = NO_MEAN,
        pixel_std: Sequence[float] = UNIT_STD,
    ) -> None:
        super().__init__()
        self.pixels = Standardizer(pixel_mean, pixel_std)
        rows, columns = compute_grid(model.patch_size, height, width)
        channels, hidden = model.channels, model.hidden_size
        self.frame_size = (height, width)
        self.frames_per_clip, self.mismatched_prompts = frames_per_clip, mismatched_prompts
        self.trains_offset = trains_offset
        self.from_patches = FromPatches(model.patch_size, channels)
        self.from_pixels = (
            FromPixels(model.patch_size, channels, pixel_channels=model.pixel_channels)
            if model.pixel_channels
            else None
        )
        self.fine = ResidualBlock(channels)
        self.to_middle = Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.middle = ResidualBlock(2 * channels)
        self.to_coarse = Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1)
        self.coarse = ResidualBlock(4 * channels)
        self.layout = Linear(4 * channels * (rows // 4) * (columns // 4), hidden)
        self.anywhere = Conv2d(4 * channels, hidden, 1) if model.pooled_features else None
        self.frame_head = ProjectionHead(model, vocabulary_size=vocabulary_size)
        self.time_features = TimeFeatures()
        self.time = Linear(self.time_features.size, hidden)
        of_maps: dict[str, Any] = {
            "channels": channels, "hidden_size": hidden, "grid": (rows, columns)
        }  # fmt: skip
        self.motion: MotionTrunk | None = None
        num_vectors = frames_per_clip
        if model.motion_channels:
            self.motion = MotionTrunk(match_channels=model.motion_channels, **of_maps)
            self.pair_head = ProjectionHead(model, vocabulary_size=vocabulary_size)
            num_vectors += frames_per_clip - 1
        self.clip = nn.Sequential(
            Linear(num_vectors * hidden, 2 * hidden),
            nn.SiLU(),
            Linear(2 * hidden, hidden),
            nn.SiLU(),
        )
        self.moments = (
            MomentChanges(frames_per_clip=frames_per_clip, **of_maps) if model.moments else None
        )
        self.clip_head = ProjectionHead(model, vocabulary_size=vocabulary_size)
        self.phrase_head: PhraseHead | None = None
        if model.max_phrases > 1:
            self.phrase_head = PhraseHead(
                model,
                vocabulary_size=vocabulary_size,
                in_channels=3 * channels,
                grid=(rows, columns),
                frames_per_clip=frames_per_clip,
                recovered_latents=recovered_latents,
            )
            recovered_latents = 0
        self.recover = nn.Linear(hidden, recovered_latents) if recovered_latents else None

    def forward(
        self,
        video: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        times: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Score each clip with its prompt, and with further prompts if given.

        video (B, 3, K, H, W), times (B, K), token_ids and token_mask (M, L) -> logits (M,) and
        recovered latents (B, R). The first B prompts are the clips' own. Further ones are blocks,
        each with one prompt for each of the first clips. The trunk encodes each clip once.
        """
        expected = (len(times), RGB, self.frames_per_clip, *self.frame_size)
        if tuple(video.shape) != expected:
            raise ValueError(f"video has shape {tuple(video.shape)}, expected {expected}")
        maps = self.encode_patches(self.pixels.standardize(video))  # (B K) C h w
        middle = self.encode_middle(maps)
        frames = self.encode_frames(middle).unflatten(0, times.shape)  # B K hidden
        vectors = frames * (1 + self.time(self.time_features(times)))
        pairs: Tensor | None = None
        if self.motion is not None:
            pairs = self.motion(maps.unflatten(0, times.shape), times)  # B K-1 hidden
            vectors = torch.cat([vectors, pairs], dim=1)
        clip = self.clip(vectors.flatten(1))  # B hidden
        with torch.autocast(video.device.type, enabled=False):
            clip = to_float32(clip)
            judged = clip if self.moments is None else clip + self.moments(maps, times)
            features = [frames.mean(1, dtype=clip.dtype), judged]  # B hidden each
            if pairs is not None:
                features.append(pairs.mean(1, dtype=clip.dtype))
            encoders = [head.text_encoder for head in self.heads]
            text = encode_by_all(encoders, token_ids, token_mask)  # H M E
            logits = score_by_projection(
                self.heads,
                torch.stack(features),
                text,
                self.mismatched_prompts,
                trains_offset=self.trains_offset,
            )
            recovered = clip[:, :0] if self.recover is None else self.recover(clip)  # B R
            if self.phrase_head is not None:
                views = torch.cat([F.silu(maps), upsample2x(F.silu(middle))], dim=1)
                views = to_float32(views).unflatten(0, times.shape)  # B K 3C h w
                of_phrases, recovered = self.phrase_head(
                    views, times, token_ids, token_mask, self.mismatched_prompts
                )
                logits = logits + of_phrases
        return logits, recovered

    @property
    def heads(self) -> list["ProjectionHead"]:
        """The heads of frames, clips and, if there are any, pairs."""
        return [self.frame_head, self.clip_head, *([self.pair_head] if self.motion else [])]

    def encode_patches(self, video: Tensor) -> Tensor:
        """Encode the patches of each frame.

        video (B, 3, K, H, W) -> (B*K, C, h, w).
        """
        frames = channels_first(rearrange(to_autocast(video), "b c k h w -> (b k) h w c"))
        maps = self.from_patches(frames)
        if self.from_pixels is not None:
            maps = maps + self.from_pixels(frames)
        return self.fine(maps)

    def encode_middle(self, maps: Tensor) -> Tensor:
        """Encode maps (N, C, h, w) more coarsely: (N, 2C, h/2, w/2)."""
        return self.middle(self.to_middle(F.silu(maps)))

    def encode_frames(self, maps: Tensor) -> Tensor:
        """Encode maps (N, 2C, h/2, w/2): (N, hidden)."""
        maps = F.silu(self.coarse(self.to_coarse(F.silu(maps))))  # (B K) 4C h/4 w/4
        features = F.silu(self.layout(maps.flatten(1)))  # (B K) hidden
        if self.anywhere is not None:
            features = features + F.silu(self.anywhere(maps)).mean((2, 3))
        return features


class ProjectionHead(nn.Module):
    """Hold a head's weights, and its own text encoder."""

    def __init__(self, model: ClipGanConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(model, vocabulary_size=vocabulary_size)
        self.unconditional = nn.Linear(model.hidden_size, 1)
        self.projection = nn.Linear(model.hidden_size, model.text_size)


def score_by_projection(
    heads: Sequence[ProjectionHead],
    features: Tensor,
    text: Tensor,
    num_repeats: int,
    *,
    trains_offset: bool,
) -> Tensor:
    """Sum the heads' logits.

    A head's logit is a linear function of the features plus the inner product of the projected
    features with the prompt's embedding. It is linear in the features, so those of a clip's frames
    can be averaged before.

    features (H, B, F), text (H, M, E) -> logits (M,); `num_repeats` as in `repeat_clips`. Without
    `trains_offset` the bias of the linear logits, common to all clips, gets no gradient.
    """
    layers = [layer for head in heads for layer in (head.unconditional, head.projection)]
    weight = torch.cat([layer.weight for layer in layers]).unflatten(0, (len(heads), -1))
    biases: list[Tensor] = [layer.bias for layer in layers]
    if not trains_offset:
        biases[::2] = [bias.detach() for bias in biases[::2]]
    bias = torch.cat(biases).view(len(heads), 1, -1)
    scores = torch.baddbmm(bias, features, weight.transpose(1, 2))  # H B 1+E
    scores = repeat_clips(scores.transpose(0, 1), text.shape[1], num_repeats)  # M H 1+E
    logits, projected = scores.split((1, text.shape[2]), dim=2)
    products = (projected * text.transpose(0, 1)).sum(2, keepdim=True)
    return torch.add(logits, products, alpha=text.shape[2] ** -0.5).sum((1, 2))
