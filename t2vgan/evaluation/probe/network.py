"""The probe's network, from whose features clips are named.

Its input is at most 16 frames of 32x32 pixels, for clips of any size.
"""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.evaluation.distribution.near_copies import even_frame_indices
from t2vgan.video import to_video

MAX_FRAMES, SIDE = 16, 32
NUM_FEATURES = 64
RADIUS = 3  # of the compared displacements, in steps of two pixels
TIME_BINS = 4
BATCH_SIZE = 32  # of every pass, padded, so that features do not depend on other clips
SMALLEST_NORM = 1e-3


class ProbeNetwork(nn.Module):
    """Map video (B, 3, T, 32, 32) to features (B, 64).

    Convolutions on stacked frames cannot see which way a texture moves. So features of each frame
    are compared explicitly with those of the next frame at small displacements (the correlation
    layer of FlowNetC, Dosovitskiy et al. 2015, section 3). `input_mean` and `input_std` are those
    of real clips; output features have mean 0 and variance 1 over real clips.
    """

    def __init__(self) -> None:
        super().__init__()
        width, num_displacements = 16, (2 * RADIUS + 1) ** 2
        self.frame = nn.Sequential(*_conv(3, width), nn.Conv2d(width, width, 3, padding=1))
        self.pair = nn.Sequential(
            nn.Conv2d(num_displacements + width, 32, 1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
            *_conv(32, 48),
            nn.Flatten(),
            nn.Linear(48 * (SIDE // 8) ** 2, 96),
            nn.ReLU(),
        )
        self.time = nn.Sequential(
            nn.Conv1d(96, 96, 3, padding=1), nn.ReLU(), nn.Conv1d(96, 64, 3, padding=1), nn.ReLU()
        )
        self.clip = nn.Sequential(nn.Flatten(), nn.Linear(64 * TIME_BINS, NUM_FEATURES), nn.ReLU())
        for name in ("input_mean", "feature_mean"):
            self.register_buffer(name, torch.zeros(NUM_FEATURES if "feature" in name else ()))
        for name in ("input_std", "feature_std"):
            self.register_buffer(name, torch.ones(NUM_FEATURES if "feature" in name else ()))

    input_mean: Tensor
    input_std: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def forward(self, video: Tensor) -> Tensor:
        if video.shape[1] != 3 or video.shape[3:] != (SIDE, SIDE):
            raise ValueError(f"video must be (B, 3, T, 32, 32), not {tuple(video.shape)}")
        video = (video - self.input_mean) / self.input_std
        frames = self.frame(rearrange(video, "b c t h w -> (b t) c h w"))
        frames = rearrange(frames, "(b t) c h w -> b t h w c", b=len(video))
        following = rearrange(frames[:, 1:, ::2, ::2], "b t h w c -> (b t) h w c")
        pairs = torch.cat([correlate_frames(frames), following], dim=3)
        vectors = self.pair(rearrange(pairs, "n h w c -> n c h w"))
        times = self.time(rearrange(vectors, "(b t) c -> b c t", b=len(video)))
        features = self.clip(average_by_product(times) if times.is_cuda else average(times))
        return (features - self.feature_mean) / self.feature_std


def average(times: Tensor) -> Tensor:
    """Average over bins of time: (B, C, T) -> (B, C, TIME_BINS)."""
    return F.adaptive_avg_pool1d(times, TIME_BINS)


def average_by_product(times: Tensor) -> Tensor:
    """Compute `average` as a matrix product, equal up to rounding.

    On CUDA the gradient of `average` is summed in an order that differs from run to run.
    """
    return times @ average(torch.eye(times.shape[2], device=times.device))


def _conv(before: int, after: int) -> list[nn.Module]:
    """Return a convolution that halves height and width."""
    conv = nn.Conv2d(before, after, 3, stride=2, padding=1)
    return [conv, nn.GroupNorm(4, after), nn.ReLU()]


def correlate_frames(frames: Tensor) -> Tensor:
    """Compare each frame's features with displaced features of the next.

    frames (B, T, H, W, C) -> (B * (T - 1), H / 2, W / 2, (2 * RADIUS + 1)^2): cosine similarity of
    every second position in y and x with the positions up to RADIUS around it.
    """
    height, width, channels = frames.shape[2:]
    rows, columns, padded_width = height // 2, width // 2, width + 2 * RADIUS
    centred = frames - frames.mean(dim=(2, 3), keepdim=True)
    unit = F.normalize(centred, dim=4, eps=SMALLEST_NORM)
    places = unit[:, :-1, ::2, ::2].reshape(-1, rows, columns, channels)
    others = unit[:, 1:].reshape(-1, height, width, channels)
    others = F.pad(others, (0, 0, RADIUS, RADIUS, RADIUS, RADIUS))
    # One matrix product gives all pairs of positions in two rows; a diagonal band is near.
    band = (len(places), rows, columns, 2 * RADIUS + 1)
    strides = (rows * columns * padded_width, columns * padded_width, padded_width + 2, 1)
    similarities = []
    for y in range(2 * RADIUS + 1):
        row = others[:, y : y + height : 2].transpose(-1, -2)
        product = torch.matmul(places, row).contiguous()
        similarities.append(product.as_strided(band, strides))
    return 3 * torch.cat(similarities, dim=3)


class TextEncoder(nn.Module):
    """Map captions, as token ids and mask, to vectors (N, 64)."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, NUM_FEATURES)
        self.neighbours = nn.Conv1d(NUM_FEATURES, NUM_FEATURES, 3, padding=1)
        self.output = nn.Linear(NUM_FEATURES, NUM_FEATURES)

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        mask = token_mask[..., None].float()
        tokens = self.embedding(token_ids) * mask
        context = F.relu(self.neighbours(tokens.transpose(1, 2))).transpose(1, 2)
        mean = ((tokens + context) * mask).sum(dim=1) / mask.sum(dim=1)
        return self.output(mean)


def resize_clips(frames: np.ndarray) -> np.ndarray:
    """Resize clips to the network's input.

    Frames (N, T, H, W, 3) uint8 become (N, T', 32, 32, 3) uint8: 2 to 16 evenly spaced frames, from
    the first to the last. Each is stretched to a square: averaged by area if both sides are at
    least 32, else interpolated linearly.
    """
    import cv2

    times = even_frame_indices(frames.shape[1], min(max(frames.shape[1], 2), MAX_FRAMES))
    shrinks = min(frames.shape[2:4]) >= SIDE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pictures = frames[:, times].reshape(-1, *frames.shape[2:])
    resized = [cv2.resize(picture, (SIDE, SIDE), interpolation=method) for picture in pictures]
    return np.stack(resized).reshape(len(frames), len(times), SIDE, SIDE, 3)


@torch.no_grad()
def extract_features(network: ProbeNetwork, frames: np.ndarray) -> np.ndarray:
    """Compute features (N, 64) of frames (N, T, H, W, 3) uint8."""
    device = network.input_mean.device
    resized_clips = torch.from_numpy(resize_clips(frames))
    features = []
    for start in range(0, len(resized_clips), BATCH_SIZE):
        chunk = resized_clips[start : start + BATCH_SIZE]
        filled = torch.cat([chunk, chunk[-1:].expand(BATCH_SIZE - len(chunk), -1, -1, -1, -1)])
        features.append(network(to_video(filled.to(device)))[: len(chunk)].cpu())
    return torch.cat(features).numpy()
