"""Define what scenes share: clips, random numbers and held-out splits."""

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
    """Frames, prompts and attributes of N clips."""

    frames: np.ndarray
    """(N, T, H, W, 3) uint8 RGB."""
    prompts: list[str]
    attributes: list[dict[str, JsonValue]]


def clip_numbers(clip_indexes: Sequence[int], *parts: int | str) -> np.ndarray:
    """Return the random numbers of each clip, (N, 16) in [0, 1).

    Row i depends only on `parts` and `clip_indexes[i]`: a counter-based generator jumps directly to
    the clip's position, so any worker may render any clip.
    """
    key = derive_seed(*parts)
    blocks = NUMBERS_PER_CLIP // 4  # Philox yields four numbers per counter step
    raw = [
        np.random.Philox(key=key, counter=[blocks * index, 0, 0, 0]).random_raw(NUMBERS_PER_CLIP)
        for index in clip_indexes
    ]
    return (np.array(raw, dtype=np.uint64).reshape(-1, NUMBERS_PER_CLIP) >> 11) * 2.0**-53


def pick(choices: Sequence[T], numbers: np.ndarray) -> list[T]:
    """Pick uniformly among choices, one for each number in [0, 1)."""
    return [choices[index] for index in (numbers * len(choices)).astype(np.int64).tolist()]


def hold_out(every: Sequence[T], name: str) -> tuple[list[T], list[T]]:
    """Split a scene's items into training and held-out ones."""
    order = permutation(len(every), SPLIT_SEED, name)
    chosen = set(order[: round(HELD_OUT_SHARE * len(every))].tolist())
    train = [one for index, one in enumerate(every) if index not in chosen]
    return train, [every[index] for index in sorted(chosen)]
