"""Run the evaluation protocol.

Generated clips are scored together with real clips (the ceiling) and negative controls.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t2vgan.config import DataConfig
from t2vgan.config.run import PUBLISHED_CLIPS
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.data.shards import Manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import parse_device
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_features import ClipAnalyzer, ClipFeatures
from t2vgan.evaluation.clip_numbers import (
    ClipNumbers,
    add_held_out,
    compute_clip_numbers,
    draw_prompts,
    measure_agreement,
    measure_between,
    nameable_prompts,
)
from t2vgan.evaluation.clip_sheet import save_clip_sheet
from t2vgan.evaluation.distribution.compare import comparable_clips, measure_distribution
from t2vgan.evaluation.distribution.fvd import open_video_network
from t2vgan.evaluation.distribution.near_copies import find_near_copies
from t2vgan.evaluation.generated_clips import GeneratedClips
from t2vgan.evaluation.notes import list_notes
from t2vgan.evaluation.probe.cache import load_or_train_probe
from t2vgan.evaluation.probe.other_data import apply_probe, open_probe_data
from t2vgan.evaluation.probe.probe import Probe, ProbeSettings
from t2vgan.evaluation.prompt_accuracy.controls import measure_controls
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, concat_tracks
from t2vgan.evaluation.prompt_accuracy.prompts import describe_unknown
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.evaluation.record import Evaluation, Protocol
from t2vgan.evaluation.scores import Scores, compare, score_real_track, score_track
from t2vgan.evaluation.video_folder import VideoFolder
from t2vgan.utils.frozen import naming_faults

CLIPS_AT_ONCE = 128
CLIPS_BETWEEN = 128  # drawn with more frames, to measure motion between trained times


def evaluate(
    weights: Path | str | None,
    data: DataConfig | Path | str,
    *,
    videos: Path | str | None = None,
    num_clips: int | None = None,
    seed: int = 0,
    device: str = "auto",
    features: Path | str | None = None,
    probe_data: Path | str | None = None,
    probe_steps: int = ProbeSettings().num_steps,
    fvd_weights: Path | str | None = None,
    sheet_file: Path | None = None,
    context: DistributedContext | None = None,
) -> Evaluation:
    """Score generated clips, compared with the real clips of some data.

    weights: as in `TextToVideo.from_pretrained`. data: a folder or URL of shards, or a `DataConfig`
    of several.

    >>> from t2vgan import evaluate
    >>> result = evaluate("circles", "data/circles", num_clips=200)  # doctest: +SKIP
    >>> result.generated.accuracy  # doctest: +SKIP
    0.99

    The clips are drawn by weights or read from a folder of videos. `num_clips` applies to weights
    (default 2,000); a folder is scored as a whole. Clips are split over the ranks, and all return
    the same (collective). A picture of some generated clips is saved as `sheet_file`, a PNG.
    Without `features`, a probe is trained once, on one half of the data's clips; with `probe_data`
    it is trained on that, and all real clips of the data are held back. If the grammar does not
    know all prompts of the data, the meter measures nothing, but all other numbers are given.
    Prompts with words that the weights do not know are left out, and counted in the record.

    Raises:
        UserError: weights, videos and data do not match, or clips are too few.
    """
    start = time.monotonic()
    context = context or DistributedContext()
    target = parse_device(device, context)
    if probe_steps < 1:
        raise UserError(f"probe_steps={probe_steps} must be at least 1")
    mixture = context.run_on_all(lambda: open_data(parse_data(data)))
    manifest = mixture.manifest
    other = None if probe_data is None else parse_data(probe_data)
    probe_source = (
        mixture if other is None else context.run_on_all(lambda: open_probe_data(other, mixture))
    )
    accuracy_missing = describe_unknown([*manifest.prompts, *manifest.held_out_prompts])

    source = context.run_on_all(
        lambda: open_source(
            weights, videos, manifest, num_clips=num_clips, seed=seed, device=target
        )
    )
    video_network = context.run_on_all(
        lambda: None if fvd_weights is None else open_video_network(fvd_weights, target)
    )
    probe = load_or_train_probe(
        probe_source,
        settings=ProbeSettings(num_steps=probe_steps),
        context=context,
        device=target,
        path=features,
    )
    if other is not None:
        probe = apply_probe(probe, mixture, name=other.name, context=context, device=target)
    if accuracy_missing and isinstance(source, GeneratedClips):
        source = _draw_by_frequency(source, probe, seed)
    tracker = None if accuracy_missing else select_tracker([*manifest.prompts, *source.prompts])
    analyzer = ClipAnalyzer(tracker, context, target, probe.network, video_network)
    result = _measure(source, mixture, analyzer, probe, seed, sheet_file)
    duration = round(time.monotonic() - start, 2)
    protocol = result.protocol.model_copy(update={"duration_seconds": duration})
    return result.model_copy(update={"protocol": protocol, "accuracy_missing": accuracy_missing})


def _draw_by_frequency(source: GeneratedClips, probe: Probe, seed: int) -> GeneratedClips:
    """Draw prompts as often as in real clips, and some held-out ones.

    Distances from real clips then do not measure the choice of prompts.
    """
    known = [prompt for prompt in probe.info.prompts if prompt not in source.left_out]
    drawn = draw_prompts(known or source.prompts, len(source.prompts), seed=seed)
    return source.with_prompts(add_held_out(drawn, nameable_prompts(probe, source.held_out)))


def parse_data(data: DataConfig | Path | str) -> DataConfig:
    """Return the data config of a folder, URL or config."""
    if isinstance(data, DataConfig):
        return data
    with naming_faults():
        return DataConfig(path=str(data))


def _measure(
    source: GeneratedClips | VideoFolder,
    data: DatasetMixture,
    analyzer: ClipAnalyzer,
    probe: Probe,
    seed: int,
    sheet_file: Path | None,
) -> Evaluation:
    """Analyze all clips, and compute the whole evaluation (collective)."""
    real = RealClips(data, len(source.prompts))
    features, reports = analyzer.analyze(source.read, len(source.prompts), "generated clips")
    videos = source.summarise(reports) if isinstance(source, VideoFolder) else None
    of_real = replace(analyzer, network=None)
    real_features, real_prompts = of_real.analyze(real.read, real.num_clips, "real clips")
    is_readable = np.array([report.problem is None for report in reports])
    generated, ceiling, relative, controls = None, None, None, None
    if features.track is not None and real_features.track is not None:
        generated = score_track(features.track, source.prompts, source.held_out, is_readable)
        ceiling = score_real_track(real_features.track, real_prompts)
        relative = compare(generated, ceiling)
        controls = measure_controls(real_features.track, real_prompts, seed)
    is_usable = is_readable & ~np.isin(np.array(source.prompts), source.held_out)
    wanted = [prompt for prompt in data.manifest.prompts if prompt not in source.left_out]
    comparable = features.select(comparable_clips(source.prompts, is_usable, wanted))
    distribution, missing = measure_distribution(
        comparable, real_features, probe, analyzer.video_network, seed
    )
    numbers = _measure_numbers(
        source, features, real_features.track, analyzer, probe, is_readable, is_usable
    )
    thumbnails = features.thumbnails[is_readable], real_features.thumbnails
    copies = find_near_copies(*thumbnails, real, analyzer.context)
    sheet, problems = (
        (None, [])
        if sheet_file is None
        else analyzer.context.run_on_main(lambda: save_clip_sheet(sheet_file, source, is_readable))
    )
    return Evaluation(
        protocol=_make_protocol(source, data.manifest, probe, analyzer, seed, real.num_clips),
        videos=videos,
        generated=generated,
        relative_to_real=relative,
        ceiling=ceiling,
        controls=controls,
        clip_numbers=numbers,
        distribution=distribution,
        near_copies=copies,
        shown=sheet,
        notes=[
            *problems,
            *source.notes,
            *list_notes(
                generated, relative, numbers, probe, data.manifest.fingerprint, real.num_clips
            ),
            *missing,
        ],
    )


def _measure_numbers(
    source: GeneratedClips | VideoFolder,
    features: ClipFeatures,
    real_track: Track | None,
    analyzer: ClipAnalyzer,
    probe: Probe,
    is_readable: np.ndarray,
    is_usable: np.ndarray,
) -> ClipNumbers | None:
    """Compute numbers that need no meter; None without usable clips (collective)."""
    usable = np.flatnonzero(is_usable)
    if not len(usable):
        return None
    chosen = features.select(usable)
    numbers = compute_clip_numbers(
        chosen, [source.prompts[place] for place in usable.tolist()], probe
    ).with_paths(chosen.track, real_track)
    if isinstance(source, GeneratedClips):
        numbers = measure_between(numbers, source, usable[:CLIPS_BETWEEN], analyzer)
    names = nameable_prompts(probe, source.held_out)
    places = np.flatnonzero(is_readable & np.isin(np.array(source.prompts), names))
    if not len(places):
        return numbers
    prompts = [source.prompts[place] for place in places.tolist()]
    held_out = measure_agreement(features.select(places).features, prompts, probe)
    return numbers.model_copy(update={"agreement_held_out": held_out})


def _make_protocol(
    source: GeneratedClips | VideoFolder,
    manifest: Manifest,
    probe: Probe,
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
            "num_left_out_prompts": len(source.left_out),
        }
    held_out = set(source.held_out)
    is_gpu = analyzer.device.type == "cuda"
    return Protocol(
        **weights,
        dataset_builder=manifest.builder,
        dataset_fingerprint=manifest.fingerprint,
        probe_dataset_fingerprint=probe.info.dataset_fingerprint,
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
        num_clips = PUBLISHED_CLIPS if num_clips is None else num_clips
        return GeneratedClips(weights, manifest, num_clips=num_clips, seed=seed, device=device)
    if num_clips is not None:
        raise UserError(f"num_clips={num_clips}: all videos of a folder are scored; leave it out")
    return VideoFolder(videos, manifest)


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
