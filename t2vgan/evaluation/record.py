"""Records of evaluations: all numbers with the protocol that gave them."""

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
    """How the numbers were computed: enough to repeat them."""

    version: str = PROTOCOL_VERSION
    weights_sha256: str | None = None
    """Of the weights that drew the clips; None where a folder of videos was scored."""
    weights_step: int | None = None
    weights_clips_seen: int | None = None
    dataset_builder: str
    dataset_fingerprint: str
    probe_dataset_fingerprint: str
    """Of the data that the probe was trained on."""
    num_clips: int
    """Generated clips, dealt to the prompts in turn; or the videos of a folder."""
    num_held_out_clips: int
    """Those of them whose prompt the weights were not trained on; of a folder's videos, those whose
    prompt asks for what no training prompt of the data asks for."""
    num_left_out_prompts: int = 0
    """Prompts of the data that no clip shows: the weights do not know all their words."""
    num_real_clips: int
    """Real clips: as many as generated ones if the data has them, the first of each part of it."""
    num_frames: int
    height: int
    width: int
    seed: int
    """Clip i is drawn from the seed derived from (seed, "evaluation", i)."""
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
    """What a folder of videos held; None where weights drew the clips."""
    generated: Scores | None
    """What the meter reads; None, as the next three, where the grammar knows not all prompts."""
    relative_to_real: RelativeToReal | None
    ceiling: Scores | None
    """The same scores of real clips."""
    controls: Controls | None
    accuracy_missing: str | None = None
    """Why the meter measured nothing."""
    clip_numbers: ClipNumbers | None
    """What needs no meter; None where no clip can be used."""
    distribution: Distribution
    near_copies: NearCopies | None
    shown: ClipSheet | None = None
    """A few of the generated clips, in a picture beside the record."""
    notes: list[str]
    """What could not be measured, and why."""
