"""Clips of a texture that moves left or right: no single frame says which."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from t2vgan.data.shards import Geometry, encode_sample, write_manifest, write_shard
from tests.support.shards import make_manifest

GEOMETRY = Geometry(num_frames=6, height=32, width=32)
PROMPTS = {"left": "a wall slides to the left", "right": "a wall slides to the right"}
SPEED = 2  # pixels a frame


def draw_textures(num_clips: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return frames (N, 6, 32, 32, 3) uint8, and left or right for each clip."""
    random = np.random.default_rng(seed)
    sides = [("left", "right")[number % 2] for number in random.permutation(num_clips)]
    clips = []
    for side in sides:
        noise = random.normal(size=(32, 96, 3)).astype(np.float32)
        wall = np.clip(128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2), 0, 255).astype(np.uint8)
        starts = 30 + SPEED * np.arange(6) * (1 if side == "left" else -1)
        clips.append(np.stack([wall[:, start : start + 32] for start in starts]))
    return np.stack(clips), sides


def write_textures(
    folder: Path,
    num_clips: int,
    *,
    captions: bool = False,
    with_labels: bool = False,
    seed: int = 0,
) -> Path:
    """Write a dataset of moving textures.

    Each clip has a caption of its own with `captions`, and a `label` with `with_labels`.
    """
    frames, sides = draw_textures(num_clips, seed)
    prompts = [
        f"{PROMPTS[side]}, number {number}" if captions else PROMPTS[side]
        for number, side in enumerate(sides)
    ]
    samples = (
        encode_sample(f"{number:05d}", clip, prompt, {"label": side} if with_labels else {})
        for number, (clip, prompt, side) in enumerate(zip(frames, prompts, sides, strict=True))
    )
    entry = write_shard(folder / "textures-00000.tar", samples)
    counts = dict(Counter(prompts))
    write_manifest(folder, make_manifest(entry, geometry=GEOMETRY, fps=5, prompts=counts))
    return folder
