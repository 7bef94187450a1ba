"""What an evaluation keeps of clips once their pixels are gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.distribution.feature_network import FeatureNetwork, extract
from t2vgan.evaluation.distribution.fvd import VideoFeatures
from t2vgan.evaluation.distribution.near_copies import thumbnails
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, join
from t2vgan.evaluation.sharding import share_clips

T = TypeVar("T")


@dataclass(frozen=True)
class ClipFeatures:
    """N clips: the path of their object, their features, and thumbnails to find copies by."""

    track: Track
    features: np.ndarray  # (N, 64)
    thumbnails: np.ndarray  # (N, D)
    video_features: np.ndarray | None  # (N, F), of the user's network for FVD

    def select(self, clips: np.ndarray) -> "ClipFeatures":
        """Return some of the clips: (N,) bool, or indices."""
        others = self.video_features
        return ClipFeatures(
            track=self.track.select(clips),
            features=self.features[clips],
            thumbnails=self.thumbnails[clips],
            video_features=None if others is None else others[clips],
        )


@dataclass(frozen=True)
class ClipAnalyzer:
    """Who looks at clips (every rank at its share), on what device, through which networks."""

    track: Callable[[np.ndarray], Track]
    processes: DistributedContext
    device: torch.device
    network: FeatureNetwork
    video_network: VideoFeatures | None

    def look(
        self,
        read: Callable[[Sequence[int]], tuple[np.ndarray, Sequence[T]]],
        num_clips: int,
        label: str,
    ) -> tuple[ClipFeatures, list[T]]:
        """Look at clips 0..num_clips - 1, and pass on what `read` says of each (collective)."""

        def work(places: Sequence[int]) -> tuple[ClipFeatures, Sequence[T]]:
            frames, words = read(places)
            return self._view(frames), words

        parts = share_clips(self.processes, self.device, num_clips, work, label=label)
        return join_views([view for view, _ in parts]), [
            word for _, words in parts for word in words
        ]

    def _view(self, frames: np.ndarray) -> ClipFeatures:
        others = self.video_network
        return ClipFeatures(
            track=self.track(frames),
            features=extract(self.network, frames),
            thumbnails=thumbnails(frames),
            video_features=None if others is None else others.extract(frames),
        )


def join_views(views: Sequence[ClipFeatures]) -> ClipFeatures:
    """Return views of several batches of clips as one."""
    others = [view.video_features for view in views if view.video_features is not None]
    return ClipFeatures(
        track=join([view.track for view in views]),
        features=np.concatenate([view.features for view in views]),
        thumbnails=np.concatenate([view.thumbnails for view in views]),
        video_features=np.concatenate(others) if others else None,
    )
