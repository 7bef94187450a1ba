"""Read the real clips of some data."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from t2vgan.data.mixture import DatasetMixture
from t2vgan.data.shards import EncodedSample, decode_sample, parse_metadata
from t2vgan.errors import UserError


class RealClips:
    """The first clips of every part of some data.

    They are `num_clips` in total, divided over the parts by their shares; a part with fewer clips
    gives all that it has.
    """

    def __init__(self, data: DatasetMixture, num_clips: int) -> None:
        self.data = data
        bounds = np.cumsum([0, *data.slots]) * num_clips // sum(data.slots)
        sizes = [part.manifest.num_samples for part in data.parts]
        self.counts = np.minimum(np.diff(bounds), sizes)
        """Number of clips of each part."""
        self.starts = np.cumsum([0, *self.counts])
        """Index of the first clip of each part, and the end of the last."""
        self.num_clips = int(self.starts[-1])

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        """Return frames (n, T, H, W, 3) and prompts of consecutive clips.

        Raises:
            UserError: a sample is damaged.
        """
        frames, prompts, _ = self.read_with_labels(indices)
        return frames, prompts

    def read_with_labels(
        self, indices: Sequence[int]
    ) -> tuple[np.ndarray, list[str], list[object]]:
        """Return frames, prompts and the `label` of each sample's json, or None.

        Raises:
            UserError: a sample is damaged.
        """
        clips = list(itertools.islice(self._iterate(indices[0]), len(indices)))
        if len(clips) < len(indices):
            names = ", ".join(part.shard_path(0) for part in self.data.parts)
            raise UserError(f"{names} and following: fewer samples than the manifest lists")
        frames, prompts, labels = zip(*clips, strict=True)
        return np.stack(frames), list(prompts), list(labels)

    def indices_in(self, other: "RealClips") -> np.ndarray:
        """Return each clip's index in `other`, of the same data, or -1."""
        return np.concatenate(
            [
                np.where(np.arange(own) < others, start + np.arange(own), -1)
                for own, others, start in zip(
                    self.counts, other.counts, other.starts[:-1], strict=True
                )
            ]
        )

    def _iterate(self, first: int) -> Iterator[tuple[np.ndarray, str, object]]:
        for part, start, stop in zip(self.data.parts, self.starts, self.starts[1:], strict=False):
            geometry = part.manifest.geometry
            skip = max(0, first - int(start))
            wanted = max(0, int(stop - start) - skip)
            for where, sample in itertools.islice(part.iter_samples(skip=skip), wanted):
                try:
                    yield *decode_sample(sample, geometry), _read_label(sample)
                except ValueError as error:
                    raise UserError(f"{where}: sample {sample.key}: {error}") from None


def _read_label(sample: EncodedSample) -> object:
    """Return the label in a sample's metadata; None without one."""
    try:
        return parse_metadata(sample).get("label")
    except ValueError:  # bad metadata is no fault: the loader does not read it either
        return None
