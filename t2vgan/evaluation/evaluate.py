"""Run the evaluation protocol.

Generated clips are scored beside real clips (the ceiling) and controls that must fail.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2vgan.config import DataConfig
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.data.shards import Manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_features import ClipAnalyzer
from t2vgan.evaluation.clip_sheet import save_clip_sheet
from t2vgan.evaluation.distribution.compare import comparable_clips, measure_distribution
from t2vgan.evaluation.distribution.feature_network import SHIPPED, load_features
from t2vgan.evaluation.distribution.fvd import VideoFeatureExtractor
from t2vgan.evaluation.distribution.near_copies import MIN_REAL_CLIPS, find_near_copies
from t2vgan.evaluation.generated_clips import GeneratedClips
from t2vgan.evaluation.prompt_accuracy.controls import measure_controls
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, concat_tracks
from t2vgan.evaluation.prompt_accuracy.prompts import check_prompts
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.evaluation.record import Evaluation, Protocol
from t2vgan.evaluation.scores import RelativeToReal, Scores, compare, score_real_track, score_track
from t2vgan.evaluation.video_folder import VideoFolder
from t2vgan.utils.files import sha256_of
from t2vgan.utils.seeds import permutation

NUM_CLIPS = 2000  # fewer give intervals too wide to publish
CLIPS_AT_ONCE = 128


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
    sheet_file: Path | None = None,
    context: DistributedContext | None = None,
) -> Evaluation:
    """Score generated clips beside the real clips of some data.

    The clips are drawn by weights or read from a folder of videos. `num_clips` belongs to weights
    (2,000 without it): a folder is scored whole. Clips are split over the ranks, and all return the
    same (collective). Some of the generated clips go into `sheet_file`, a PNG.

    Raises:
        UserError: weights, videos and data do not fit each other, the grammar does not know
            prompts of the data, or clips are too few.
    """
    start = time.monotonic()
    context = context or DistributedContext()
    target = parse_device(device, context)
    mixture = context.run_on_all(lambda: open_data(data))
    manifest = mixture.manifest
    check_prompts([*manifest.prompts, *manifest.held_out_prompts])
    source = context.run_on_all(
        lambda: open_source(
            weights, videos, manifest, num_clips=num_clips, seed=seed, device=target
        )
    )
    network, _ = load_features(features, device=target)
    video_network = None if fvd_weights is None else VideoFeatureExtractor(fvd_weights, target)
    analyzer = ClipAnalyzer(
        select_tracker([*manifest.prompts, *source.prompts]),
        context,
        target,
        network,
        video_network,
    )
    result = _measure(source, mixture, analyzer, seed, sha256_of(features), sheet_file)
    duration = round(time.monotonic() - start, 2)
    protocol = result.protocol.model_copy(update={"duration_seconds": duration})
    return result.model_copy(update={"protocol": protocol})


def _measure(
    source: GeneratedClips | VideoFolder,
    data: DatasetMixture,
    analyzer: ClipAnalyzer,
    seed: int,
    features_sha256: str,
    sheet_file: Path | None,
) -> Evaluation:
    """Analyze all clips and compute every number (collective)."""
    real = RealClips(data, len(source.prompts))
    features, reports = analyzer.analyze(source.read, len(source.prompts), "generated clips")
    videos = source.summarise(reports) if isinstance(source, VideoFolder) else None
    real_features, real_prompts = analyzer.analyze(real.read, real.num_clips, "real clips")
    is_readable = np.array([report.problem is None for report in reports])
    generated = score_track(features.track, source.prompts, source.held_out, is_readable)
    ceiling = score_real_track(real_features.track, real_prompts)
    relative = compare(generated, ceiling)
    is_usable = is_readable & ~np.isin(np.array(source.prompts), source.held_out)
    # Real clips are shuffled, because the parts of a mixture follow each other.
    shuffled = permutation(real.num_clips, seed, "real clips")
    distribution, missing = measure_distribution(
        features.select(comparable_clips(source.prompts, is_usable, data.manifest.prompts)),
        real_features if len(data.parts) == 1 else real_features.select(shuffled),
        features_sha256=features_sha256,
        fvd_sha256=None if analyzer.video_network is None else analyzer.video_network.sha256,
    )
    thumbnails = features.thumbnails[is_readable], real_features.thumbnails
    copies = find_near_copies(*thumbnails, real, analyzer.context, analyzer.device)
    sheet, problems = (
        (None, [])
        if sheet_file is None
        else analyzer.context.run_on_main(lambda: save_clip_sheet(sheet_file, source, is_readable))
    )
    return Evaluation(
        protocol=_make_protocol(source, data.manifest, analyzer, seed, real.num_clips),
        videos=videos,
        generated=generated,
        relative_to_real=relative,
        ceiling=ceiling,
        controls=measure_controls(real_features.track, real_prompts, seed),
        distribution=distribution,
        near_copies=copies,
        shown=sheet,
        notes=[*problems, *_notes(generated, relative, real.num_clips), *missing],
    )


def _make_protocol(
    source: GeneratedClips | VideoFolder,
    manifest: Manifest,
    analyzer: ClipAnalyzer,
    seed: int,
    num_real_clips: int,
) -> Protocol:
    weights: dict[str, Any] = {}
    if isinstance(source, GeneratedClips):
        info = source.pipeline.info
        weights = {
            "weights_sha256": source.sha256,
            "weights_step": info.step,
            "weights_clips_seen": info.clips_seen,
        }
    held_out = set(source.held_out)
    is_gpu = analyzer.device.type == "cuda"
    return Protocol(
        **weights,
        dataset_builder=manifest.builder,
        dataset_fingerprint=manifest.fingerprint,
        num_clips=len(source.prompts),
        num_held_out_clips=sum(prompt in held_out for prompt in source.prompts),
        num_real_clips=num_real_clips,
        **manifest.geometry.model_dump(),
        seed=seed,
        device=torch.cuda.get_device_name(analyzer.device) if is_gpu else analyzer.device.type,
        world_size=analyzer.context.world_size,
    )


def open_source(
    weights: Path | str | None,
    videos: Path | str | None,
    manifest: Manifest,
    *,
    num_clips: int | None,
    seed: int,
    device: torch.device,
) -> GeneratedClips | VideoFolder:
    """Open the clips to score: generated by weights, or a folder's videos."""
    if (weights is None) == (videos is None):
        raise UserError("give either weights (a file or a run folder) or videos (a folder)")
    if videos is None:
        assert weights is not None
        num_clips = NUM_CLIPS if num_clips is None else num_clips
        return GeneratedClips(weights, manifest, num_clips=num_clips, seed=seed, device=device)
    if num_clips is not None:
        raise UserError(f"num_clips={num_clips}: a folder of videos is scored whole; leave it out")
    return VideoFolder(videos, manifest)


def _notes(scores: Scores, relative: RelativeToReal, num_real_clips: int) -> list[str]:
    """List the numbers that too few clips leave out."""
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
    """Score the first real clips of some data."""
    real = RealClips(data, num_clips)
    tracker = select_tracker(data.manifest.prompts)
    tracks: list[Track] = []
    prompts: list[str] = []
    for start in range(0, real.num_clips, CLIPS_AT_ONCE):
        frames, chunk_prompts = real.read(range(start, min(start + CLIPS_AT_ONCE, real.num_clips)))
        tracks.append(tracker(frames))
        prompts += chunk_prompts
    return score_real_track(concat_tracks(tracks), prompts)


def parse_device(name: str, context: DistributedContext) -> torch.device:
    """Return the named device; "auto" is this rank's GPU, or the CPU."""
    if name == "auto":
        return context.device
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device={name}: not usable here ({reason}); give auto or cpu") from None
    return device
