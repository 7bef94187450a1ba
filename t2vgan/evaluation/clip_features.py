"""Features of clips: all that an evaluation keeps of their pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.distribution.feature_network import FeatureNetwork, extract_features
from t2vgan.evaluation.distribution.fvd import VideoFeatureExtractor
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, concat_tracks
from t2vgan.evaluation.sharding import map_over_ranks

T = TypeVar("T")


@dataclass(frozen=True)
class ClipFeatures:
    """Tracks, classifier features and thumbnails of N clips."""

    track: Track
    features: np.ndarray  # (N, 64)
    thumbnails: np.ndarray  # (N, D)
    video_features: np.ndarray | None  # (N, F), of the user's network for FVD

    def select(self, clips: np.ndarray) -> "ClipFeatures":
        """Select clips by a mask (N,) bool or by indices."""
        others = self.video_features
        return ClipFeatures(
            track=self.track.select(clips),
            features=self.features[clips],
            thumbnails=self.thumbnails[clips],
            video_features=None if others is None else others[clips],
        )


@dataclass(frozen=True)
class ClipAnalyzer:
    """Compute the features of clips, shared over ranks."""

    track: Callable[[np.ndarray], Track]
    context: DistributedContext
    device: torch.device
    network: FeatureNetwork
    video_network: VideoFeatureExtractor | None

    def analyze(
        self,
        read: Callable[[Sequence[int]], tuple[np.ndarray, Sequence[T]]],
        num_clips: int,
        label: str,
    ) -> tuple[ClipFeatures, list[T]]:
        """Return features and reports of clips 0..num_clips - 1 (collective).

        `read` returns frames (n, T, H, W, 3) uint8 and a report for each.
        """

        def analyze_chunk(indices: Sequence[int]) -> tuple[ClipFeatures, Sequence[T]]:
            frames, reports = read(indices)
            return self._analyze_frames(frames), reports

        parts = map_over_ranks(self.context, self.device, num_clips, analyze_chunk, label=label)
        features = concat_features([features for features, _ in parts])
        return features, [report for _, reports in parts for report in reports]

    def _analyze_frames(self, frames: np.ndarray) -> ClipFeatures:
        others = self.video_network
        return ClipFeatures(
            track=self.track(frames),
            features=extract_features(self.network, frames),
            thumbnails=make_thumbnails(frames),
            video_features=None if others is None else others.extract(frames),
        )


def concat_features(parts: Sequence[ClipFeatures]) -> ClipFeatures:
    """Concatenate the features of several batches of clips."""
    others = [part.video_features for part in parts if part.video_features is not None]
    return ClipFeatures(
        track=concat_tracks([part.track for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        thumbnails=np.concatenate([part.thumbnails for part in parts]),
        video_features=np.concatenate(others) if others else None,
    )
