"""The whole protocol: generated clips, real clips as the ceiling, and controls that must fail."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

import t2vgan
from t2vgan.config import DataConfig
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.data.shards import Manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_features import ClipAnalyzer
from t2vgan.evaluation.clip_sheet import ShownClips, show_clips
from t2vgan.evaluation.distribution.distribution import (
    Distribution,
    comparable_clips,
    measure_distribution,
    what_is_missing,
)
from t2vgan.evaluation.distribution.feature_network import SHIPPED, load_features
from t2vgan.evaluation.distribution.fvd import VideoFeatures
from t2vgan.evaluation.distribution.near_copies import MIN_REAL_CLIPS, NearCopies, find_near_copies
from t2vgan.evaluation.generated_clips import DrawnClips
from t2vgan.evaluation.prompt_accuracy.controls import Controls, measure_controls
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, join
from t2vgan.evaluation.prompt_accuracy.prompts import check_prompts
from t2vgan.evaluation.prompt_accuracy.select import tracker_of
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.evaluation.scores import RelativeToReal, Scores, compare, score_real_track, score_track
from t2vgan.evaluation.video_folder import VideoFolder, Videos
from t2vgan.utils.environment import git_commit
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import Frozen
from t2vgan.utils.seeds import permutation

PROTOCOL_VERSION = "attributes-5"
NUM_CLIPS = 2000  # fewer give intervals too wide to publish
CLIPS_AT_ONCE = 128


class Protocol(Frozen):
    """How the numbers came about: enough to repeat them."""

    version: str = PROTOCOL_VERSION
    weights_sha256: str | None = None
    """Of the weights that drew the clips; None where `videos` says what was scored."""
    weights_step: int | None = None
    weights_clips_seen: int | None = None
    dataset_builder: str
    dataset_fingerprint: str
    num_clips: int
    """Generated clips, dealt to the prompts in turn; or the videos of a folder."""
    num_held_out_clips: int
    """Those of them whose prompt the weights were not trained on; of a folder's videos, those whose
    prompt asks for what no training prompt of the data asks for."""
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
    """Everything `python -m t2vgan.evaluation` writes."""

    protocol: Protocol
    videos: Videos | None
    """What a folder of videos held; None where weights drew the clips."""
    generated: Scores
    relative_to_real: RelativeToReal
    ceiling: Scores
    """The same scores of real clips."""
    controls: Controls
    distribution: Distribution
    near_copies: NearCopies | None
    shown: ShownClips | None = None
    """A few of the generated clips, in a picture beside the record."""
    notes: list[str]
    """What could not be measured, and why."""


def evaluate(
    weights: Path | str | None,
    data: DataConfig,
    *,
    videos: Path | str | None = None,
    num_clips: int | None = None,
    seed: int = 0,
    device: str = "auto",
    features: Path | str = SHIPPED,
    fvd_weights: Path | str | None = None,
    picture: Path | None = None,
    processes: DistributedContext | None = None,
) -> Evaluation:
    """Score the clips that weights draw, or a folder of videos, beside the real clips of some data.

    `num_clips` belongs to weights (2,000 without it): a folder is scored whole. Clips are split
    over the ranks, and all return the same (collective). Some of the generated clips go into
    `picture`, a PNG file. Raises UserError for weights, videos and data that do not fit each other,
    prompts of the data that the meter does not know, and too few clips.
    """
    start = time.monotonic()
    processes = processes or DistributedContext()
    target = find_device(device, processes)
    mixture = processes.run_on_all(lambda: open_data(data))
    manifest = mixture.manifest
    check_prompts([*manifest.prompts, *manifest.held_out_prompts])
    source = processes.run_on_all(
        lambda: open_source(
            weights, videos, manifest, num_clips=num_clips, seed=seed, device=target
        )
    )
    network, _ = load_features(features, device=target)
    video_network = None if fvd_weights is None else VideoFeatures(fvd_weights, target)
    eyes = ClipAnalyzer(
        tracker_of([*manifest.prompts, *source.prompts]), processes, target, network, video_network
    )
    result = _measure(
        source, mixture, eyes, features_sha256=sha256_of(features), seed=seed, picture=picture
    )
    duration = round(time.monotonic() - start, 2)
    protocol = result.protocol.model_copy(update={"duration_seconds": duration})
    return result.model_copy(update={"protocol": protocol})


def _measure(
    source: DrawnClips | VideoFolder,
    data: DatasetMixture,
    eyes: ClipAnalyzer,
    *,
    features_sha256: str,
    seed: int,
    picture: Path | None,
) -> Evaluation:
    """Look at all clips, and say everything of them (collective)."""
    manifest, real = data.manifest, RealClips(data, len(source.prompts))
    view, reports = eyes.look(source.read, len(source.prompts), "generated clips")
    account = source.summarise(reports) if isinstance(source, VideoFolder) else None
    real_view, real_prompts = eyes.look(real.read, real.num_clips, "real clips")
    is_readable = np.array([report.problem is None for report in reports])
    generated = score_track(view.track, source.prompts, source.held_out, is_readable)
    ceiling = score_real_track(real_view.track, real_prompts)
    is_held_out = np.isin(np.array(source.prompts), source.held_out)
    usable = is_readable & ~is_held_out
    compared = view.select(comparable_clips(source.prompts, usable, manifest.prompts))
    mixed = permutation(real.num_clips, seed, "real clips")  # else part would follow part
    distribution = measure_distribution(
        compared,
        real_view if len(data.parts) == 1 else real_view.select(mixed),
        features_sha256=features_sha256,
        fvd_sha256=None if eyes.video_network is None else eyes.video_network.sha256,
    )
    copies = find_near_copies(
        view.thumbnails[is_readable], real_view.thumbnails, real, eyes.processes, eyes.device
    )
    relative = compare(generated, ceiling)
    shown, problems = (
        (None, [])
        if picture is None
        else eyes.processes.run_on_main(lambda: show_clips(picture, source, is_readable))
    )
    return Evaluation(
        protocol=Protocol(
            **_origin(source),
            dataset_builder=manifest.builder,
            dataset_fingerprint=manifest.fingerprint,
            num_clips=len(source.prompts),
            num_held_out_clips=int(is_held_out.sum()),
            num_real_clips=real.num_clips,
            **manifest.geometry.model_dump(),
            seed=seed,
            device=_describe(eyes.device),
            world_size=eyes.processes.world_size,
        ),
        videos=account,
        generated=generated,
        relative_to_real=relative,
        ceiling=ceiling,
        controls=measure_controls(real_view.track, real_prompts, seed),
        distribution=distribution,
        near_copies=copies,
        shown=shown,
        notes=[
            *problems,
            *_notes(generated, relative, real.num_clips),
            *what_is_missing(distribution, compared, real_view),
        ],
    )


def open_source(
    weights: Path | str | None,
    videos: Path | str | None,
    manifest: Manifest,
    *,
    num_clips: int | None,
    seed: int,
    device: torch.device,
) -> DrawnClips | VideoFolder:
    """Return what is to be scored: the clips that weights draw, or a folder's videos."""
    if (weights is None) == (videos is None):
        raise UserError("give either weights (a file or a run folder) or videos (a folder)")
    if videos is None:
        assert weights is not None
        num_clips = NUM_CLIPS if num_clips is None else num_clips
        return DrawnClips(weights, manifest, num_clips=num_clips, seed=seed, device=device)
    if num_clips is not None:
        raise UserError(f"num_clips={num_clips}: a folder of videos is scored whole; leave it out")
    return VideoFolder(videos, manifest)


def _origin(source: DrawnClips | VideoFolder) -> dict[str, Any]:
    if isinstance(source, VideoFolder):
        return {}
    info = source.pipeline.info
    return {
        "weights_sha256": source.sha256,
        "weights_step": info.step,
        "weights_clips_seen": info.clips_seen,
    }


def _notes(scores: Scores, relative: RelativeToReal, num_real_clips: int) -> list[str]:
    """Say what few clips leave open."""
    notes = []
    if scores.num_clips < NUM_CLIPS:
        notes.append(
            f"accuracy: publish it from {NUM_CLIPS} clips or more, here are {scores.num_clips}"
        )
    if relative.diversity is None:
        notes.append(
            "diversity: needs prompts with two clips at least, in which the object can be followed,"
            " and real clips that vary"
        )
    if num_real_clips < MIN_REAL_CLIPS:
        notes.append(f"near copies: needs {MIN_REAL_CLIPS} real clips, found {num_real_clips}")
    return notes


def score_real_clips(data: DatasetMixture, num_clips: int) -> Scores:
    """Score the first real clips of some data: what generated ones are compared with."""
    real = RealClips(data, num_clips)
    starts = range(0, real.num_clips, CLIPS_AT_ONCE)
    track = tracker_of(data.manifest.prompts)
    tracks: list[Track] = []
    prompts: list[str] = []
    for start in starts:
        frames, some = real.read(range(start, min(start + CLIPS_AT_ONCE, real.num_clips)))
        tracks.append(track(frames))
        prompts += some
    return score_real_track(join(tracks), prompts)


def find_device(name: str, processes: DistributedContext) -> torch.device:
    """Return the device of a name; "auto" is this rank's GPU, or else the CPU."""
    if name == "auto":
        return processes.device
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device={name}: not usable here ({reason}); give auto or cpu") from None
    return device


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
