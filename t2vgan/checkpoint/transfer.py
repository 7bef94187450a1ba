"""Transfer the tensors of one network to another.

A tensor of the same shape is copied. Rows of word embeddings follow the vocabulary. Layers between
a code and maps on a grid are resized by interpolation. All other tensors keep their values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns."""

WORDS = "text_encoder.words.weight", "word_vectors"
"""Suffixes of the names of tensors with one row per token id."""


@dataclass
class Transfer:
    """Tensors for a network, and how each was obtained."""

    tensors: dict[str, Tensor]
    copied: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Tensors of the source that do not exist in the network."""

    def __str__(self) -> str:
        """Format a one-line report that names tensors not copied."""
        parts = [f"{len(self.copied)} tensors copied"]
        for name in ("grown", "resized", "fresh", "unused"):
            if names := getattr(self, name):
                parts.append(f"{len(names)} {name} ({', '.join(names)})")
        return ", ".join(parts)


def transfer(
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    *,
    rows: Mapping[int, int],
    grids: Mapping[str, tuple[Grid, Grid]] | None = None,
) -> Transfer:
    """Fit a source's tensors to a target's names and shapes.

    `rows` maps token ids of the target to those of the source. `grids` maps the name of a layer
    between a code and maps to the maps' grids in the source and in the target. Tensors of the
    target are not changed.
    """
    result = Transfer({name: tensor.clone() for name, tensor in target.items()})
    for name, wanted in result.tensors.items():
        found = source.get(name)
        if found is None or found.dtype != wanted.dtype:
            result.fresh.append(name)
        elif name.endswith(WORDS) and found.shape[1:] == wanted.shape[1:]:
            wanted[list(rows)] = found[list(rows.values())].to(wanted.device)
            (result.grown if len(wanted) > len(rows) else result.copied).append(name)
        elif found.shape == wanted.shape:
            wanted.copy_(found)
            result.copied.append(name)
        elif (fitted := resize_layout(found, wanted, find_grids(name, grids))) is not None:
            wanted.copy_(fitted)
            result.resized.append(name)
        else:
            result.fresh.append(name)
    result.unused = [name for name in source if name not in target]
    return result


def find_grids(
    name: str, grids: Mapping[str, tuple[Grid, Grid]] | None
) -> tuple[Grid, Grid] | None:
    """Return the grids of a layer's weight or bias."""
    return (grids or {}).get(name.rpartition(".")[0])


def resize_layout(found: Tensor, wanted: Tensor, grids: tuple[Grid, Grid] | None) -> Tensor | None:
    """Interpolate the axis of a layer that enumerates maps on a grid.

    Output values keep their magnitude; weights of an input axis, which is summed over, are scaled
    so that the sum keeps its magnitude. Returns None if the shapes do not fit.
    """
    axes = [i for i in range(found.ndim) if found.shape[i] != wanted.shape[i]]
    if grids is None or found.ndim != wanted.ndim or len(axes) != 1:
        return None
    (axis,), (before, after) = axes, grids
    num_before, num_after = before[0] * before[1], after[0] * after[1]
    channels, rest = divmod(found.shape[axis], num_before)
    if rest or channels * num_after != wanted.shape[axis]:
        return None
    maps = found.movedim(axis, -1).reshape(-1, channels, *before)
    resized = F.interpolate(maps, after, mode="bilinear", antialias=True)
    if axis == 1:  # summed over
        resized = resized * (num_before / num_after)
    moved = resized.reshape(*found.movedim(axis, -1).shape[:-1], wanted.shape[axis])
    return moved.movedim(-1, axis)


def match_rows(before: Sequence[str], after: Sequence[str]) -> dict[int, int]:
    """Map new token ids of known words and padding to old ones."""
    ids = {name: number for number, name in enumerate(before, start=1)}
    return {0: 0} | {number: ids[name] for number, name in enumerate(after, start=1) if name in ids}
