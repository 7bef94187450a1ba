"""The real clips of a data folder."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError
from t2vgan.shards import Manifest, check_shards, decode_sample, load_manifest, read_samples


class RealClips:
    """The first `num_clips` clips of a data folder, in its order, or all if there are fewer.

    Raises UserError for a folder that is none, and, while reading, for a damaged sample.
    """

    def __init__(self, data: Path | str, num_clips: int) -> None:
        self.folder = Path(data)
        self.manifest: Manifest = load_manifest(data)
        check_shards(data, self.manifest)
        self.num_clips = min(num_clips, self.manifest.num_samples)

    def read(self, places: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        """Return the frames (n, T, H, W, 3) and prompts of clips at neighbouring places."""
        clips = list(itertools.islice(self._from(places[0]), len(places)))
        return np.stack([frames for frames, _ in clips]), [prompt for _, prompt in clips]

    def _from(self, place: int) -> Iterator[tuple[np.ndarray, str]]:
        for shard in self.manifest.shards:
            if place >= shard.num_samples:
                place -= shard.num_samples
                continue
            for sample in read_samples(self.folder / shard.name, skip=place):
                try:
                    yield decode_sample(sample, self.manifest.geometry)
                except ValueError as error:
                    raise UserError(
                        f"{self.folder}/{shard.name}: sample {sample.key}: {error}"
                    ) from None
            place = 0
