"""Records of evaluations: all numbers, with their protocol."""

import torch
from pydantic import Field

import t2vgan
from t2vgan.evaluation.clip_numbers import ClipNumbers
from t2vgan.evaluation.clip_sheet import ClipSheet
from t2vgan.evaluation.distribution.compare import Distribution
from t2vgan.evaluation.distribution.near_copies import NearCopies
from t2vgan.evaluation.prompt_accuracy.controls import Controls
from t2vgan.evaluation.scores import RelativeToReal, Scores
from t2vgan.evaluation.video_folder import FolderSummary
from t2vgan.utils.environment import git_commit
from t2vgan.utils.frozen import Frozen

PROTOCOL_VERSION = "attributes-6"


class Protocol(Frozen):
    """How the numbers were computed, so that they can be reproduced."""

    version: str = PROTOCOL_VERSION
    weights_sha256: str | None = None
    """Checksum of the weights that drew the clips; None for a folder of videos."""
    weights_step: int | None = None
    weights_clips_seen: int | None = None
    dataset_builder: str
    dataset_fingerprint: str
    probe_dataset_fingerprint: str
    """Fingerprint of the data that the probe was trained on."""
    num_clips: int
    """Number of generated clips, or of the videos of a folder."""
    num_held_out_clips: int
    """Those of them whose prompt the weights were not trained on; for a folder of videos, those
    whose prompt has another meaning than all training prompts of the data."""
    num_left_out_prompts: int = 0
    """Number of prompts left out because the weights do not know all their words."""
    num_real_clips: int
    """Number of real clips, the first of each part of the data: as many as generated ones, if the
    data has them."""
    num_frames: int
    height: int
    width: int
    seed: int
    """Clip i is drawn from a seed derived from (seed, "evaluation", i)."""
    device: str
    world_size: int
    torch_version: str = str(torch.__version__)
    t2vgan_version: str = t2vgan.__version__
    git_commit: str | None = Field(default_factory=git_commit)
    duration_seconds: float = 0.0


class Evaluation(Frozen):
    """The whole record that `t2vgan evaluate` writes."""

    protocol: Protocol
    videos: FolderSummary | None
    """Summary of a folder of videos; None if weights drew the clips."""
    generated: Scores | None
    """Scores of the meter; None, like the next three, if the grammar does not know all prompts."""
    relative_to_real: RelativeToReal | None
    ceiling: Scores | None
    """The same scores of real clips."""
    controls: Controls | None
    accuracy_missing: str | None = None
    """Why the meter measured nothing."""
    clip_numbers: ClipNumbers | None
    """Numbers that need no meter; None if no clip is usable."""
    distribution: Distribution
    near_copies: NearCopies | None
    shown: ClipSheet | None = None
    """A picture of some generated clips, next to the record."""
    notes: list[str]
    """What could not be measured, with reasons."""
