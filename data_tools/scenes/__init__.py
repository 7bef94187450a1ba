"""Rendered scenes: every clip a pure function of (scene, seed, clip index, geometry).

A scene is a module with `VERSION` (raised whenever a pixel changes), `PROMPTS` (empty where they
are too many to list), `HELD_OUT_PROMPTS`, which no clip of a data set shows, and `render_clips`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import JsonValue

from t2vgan.utils.seeds import derive_seed, permutation

T = TypeVar("T")

FPS = 10.0
NUMBERS_PER_CLIP = 16
HELD_OUT_SHARE = 0.15
SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class RenderedClips:
    """Clips and what was drawn: frames (N, T, H, W, 3) uint8 RGB; one prompt and dict a clip."""

    frames: np.ndarray
    prompts: list[str]
    attributes: list[dict[str, JsonValue]]


def clip_numbers(clip_indexes: Sequence[int], *parts: int | str) -> np.ndarray:
    """Return the random numbers that belong to each clip: (N, 16) float64 in [0, 1).

    Row i depends on `parts` and `clip_indexes[i]` alone: a counter-based generator jumps straight
    to the clip's place, so any worker may draw any clip.
    """
    key = derive_seed(*parts)
    blocks = NUMBERS_PER_CLIP // 4  # Philox gives four numbers a counter step
    raw = [
        np.random.Philox(key=key, counter=[blocks * index, 0, 0, 0]).random_raw(NUMBERS_PER_CLIP)
        for index in clip_indexes
    ]
    return (np.array(raw, dtype=np.uint64).reshape(-1, NUMBERS_PER_CLIP) >> 11) * 2.0**-53


def pick(choices: Sequence[T], numbers: np.ndarray) -> list[T]:
    """Pick a choice by each of N numbers in [0, 1), all choices equally likely."""
    return [choices[index] for index in (numbers * len(choices)).astype(np.int64).tolist()]


def hold_out(every: Sequence[T], name: str) -> tuple[list[T], list[T]]:
    """Split what a scene can show into what its clips show, and the share that is held out."""
    order = permutation(len(every), SPLIT_SEED, name)
    chosen = set(order[: round(HELD_OUT_SHARE * len(every))].tolist())
    train = [one for index, one in enumerate(every) if index not in chosen]
    return train, [every[index] for index in sorted(chosen)]
