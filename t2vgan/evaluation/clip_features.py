"""Features of clips, which an evaluation keeps instead of their pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.distribution.fvd import VideoFeatureExtractor
from t2vgan.evaluation.distribution.motion_energy import measure_motion
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.evaluation.probe.network import ProbeNetwork, extract_features
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, concat_tracks
from t2vgan.evaluation.sharding import map_over_ranks

T = TypeVar("T")


@dataclass(frozen=True)
class ClipFeatures:
    """Tracks, the probe's features, thumbnails and motion of N clips."""

    track: Track | None  # None if the prompts do not describe objects
    features: np.ndarray  # (N, 64)
    thumbnails: np.ndarray  # (N, D)
    motion: np.ndarray  # (N, 2), of measure_motion
    video_features: np.ndarray | None  # (N, F), from the user's network for FVD

    def select(self, clips: np.ndarray) -> "ClipFeatures":
        """Select clips by a mask (N,) bool or by indices."""
        others = self.video_features
        return ClipFeatures(
            track=None if self.track is None else self.track.select(clips),
            features=self.features[clips],
            thumbnails=self.thumbnails[clips],
            motion=self.motion[clips],
            video_features=None if others is None else others[clips],
        )


@dataclass(frozen=True)
class ClipAnalyzer:
    """Compute the features of clips, shared over ranks."""

    track: Callable[[np.ndarray], Track] | None
    context: DistributedContext
    device: torch.device
    network: ProbeNetwork | None  # None: no features (the probe has those of real clips)
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
            features = compute_features(frames, self.network, self.track, self.video_network)
            return features, reports

        parts = map_over_ranks(self.context, num_clips, analyze_chunk, label=label)
        features = concat_features([features for features, _ in parts])
        return features, [report for _, reports in parts for report in reports]


def compute_features(
    frames: np.ndarray,
    network: ProbeNetwork | None,
    track: Callable[[np.ndarray], Track] | None = None,
    video_network: VideoFeatureExtractor | None = None,
) -> ClipFeatures:
    """Compute the features of frames (N, T, H, W, 3) uint8."""
    return ClipFeatures(
        track=None if track is None else track(frames),
        features=(
            np.zeros((len(frames), 0), np.float32)
            if network is None
            else extract_features(network, frames)
        ),
        thumbnails=make_thumbnails(frames),
        motion=measure_motion(frames),
        video_features=None if video_network is None else video_network.extract(frames),
    )


def concat_features(parts: Sequence[ClipFeatures]) -> ClipFeatures:
    """Concatenate the features of several batches of clips."""
    tracks = [part.track for part in parts if part.track is not None]
    others = [part.video_features for part in parts if part.video_features is not None]
    return ClipFeatures(
        track=concat_tracks(tracks) if tracks else None,
        features=np.concatenate([part.features for part in parts]),
        thumbnails=np.concatenate([part.thumbnails for part in parts]),
        motion=np.concatenate([part.motion for part in parts]),
        video_features=np.concatenate(others) if others else None,
    )
