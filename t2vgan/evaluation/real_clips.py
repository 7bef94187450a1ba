"""The real clips of some data."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from t2vgan.data_set import DataSet, read_samples_of
from t2vgan.errors import UserError
from t2vgan.shards import decode_sample


class RealClips:
    """The first `num_clips` clips of some data sets, in their order, or all if there are fewer.

    While reading it raises UserError for a damaged sample.
    """

    def __init__(self, data_sets: Sequence[DataSet], num_clips: int) -> None:
        self.data_sets = data_sets
        total = sum(data_set.manifest.num_samples for data_set in data_sets)
        self.num_clips = min(num_clips, total)

    def read(self, places: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        """Return the frames (n, T, H, W, 3) and prompts of clips at neighbouring places."""
        clips = list(itertools.islice(self._from(places[0]), len(places)))
        return np.stack([frames for frames, _ in clips]), [prompt for _, prompt in clips]

    def _from(self, place: int) -> Iterator[tuple[np.ndarray, str]]:
        for data_set in self.data_sets:
            for where, sample in read_samples_of(data_set, skip=place):
                try:
                    yield decode_sample(sample, data_set.manifest.geometry)
                except ValueError as error:
                    raise UserError(f"{where}: sample {sample.key}: {error}") from None
            place = max(0, place - data_set.manifest.num_samples)
