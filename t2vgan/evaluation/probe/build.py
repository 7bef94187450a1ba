"""Train a probe on one half of real clips; measure the other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from t2vgan.evaluation.distribution.motion_energy import measure_motion
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.evaluation.distribution.variance import group_clips, group_variances
from t2vgan.evaluation.probe.network import ProbeNetwork, extract_features, resize_clips
from t2vgan.evaluation.probe.probe import (
    MAX_WORDS,
    Probe,
    ProbeInfo,
    ProbeSettings,
    RealNumbers,
    build_head,
)
from t2vgan.evaluation.probe.targets import choose_targets, in_training_half, read_labels
from t2vgan.evaluation.probe.training import ProbeStoppedError, ProbeTrainer, ShouldStop, never
from t2vgan.evaluation.prompt_accuracy.diversity import mean_if_any
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.seeds import derive_seed, permutation, random_generator
from t2vgan.video import to_video

CLIPS_AT_ONCE = 256  # decoded at full size
CLIPS_FOR_SCALE = 512
SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class LoadedClips:
    """N real clips at the probe's size, with measurements of their pixels."""

    frames: np.ndarray  # (N, T, 32, 32, 3) uint8
    prompts: list[str]
    labels: list[object]
    thumbnails: np.ndarray  # (N, D)
    motion: np.ndarray  # (N, 2), of measure_motion


def build_probe(
    clips: RealClips,
    settings: ProbeSettings,
    device: torch.device,
    should_stop: ShouldStop = never,
) -> Probe:
    """Train a probe to name the clips of some data.

    Raises:
        UserError: a sample is damaged.
        ProbeStoppedError: `should_stop` returned true between two batches.
    """
    loaded = load_clips(clips, should_stop)
    targets = choose_targets(loaded.prompts, loaded.labels)
    indices = targets.of_clips(loaded.prompts, loaded.labels)
    is_training = in_training_half(len(loaded.prompts))
    training = np.flatnonzero(is_training)
    held_back = np.flatnonzero(~is_training) if targets.kind else np.arange(len(indices))
    held_back = shuffle_clips(held_back, settings)
    vocabulary = Vocabulary.from_prompts(
        Counter(loaded.prompts) if targets.kind == "caption" else (), MAX_WORDS
    )
    with torch.random.fork_rng(devices=[]):  # leave the random state of a training run unchanged
        torch.manual_seed(derive_seed(settings.seed, "probe network"))
        network, head = ProbeNetwork(), build_head(targets, vocabulary)
    std, mean = torch.std_mean(to_video(torch.from_numpy(loaded.frames[:CLIPS_FOR_SCALE])))
    network.input_mean.copy_(mean)
    network.input_std.copy_(std.clamp_min(SMALLEST_STD))
    network.to(device)
    head.to(device)
    trainer = ProbeTrainer(
        network, head, torch.from_numpy(loaded.frames), indices, targets, vocabulary, settings,
        device, should_stop,
    )  # fmt: skip
    num_steps = trainer.train(training) if targets.kind else 0
    network.eval()
    head.eval()
    features = standardise(network, loaded.frames[held_back])
    info = ProbeInfo(
        dataset_fingerprint=clips.data.manifest.fingerprint,
        settings=settings,
        kind=targets.kind,
        names=targets.names,
        prompt_labels=targets.prompt_labels,
        words=vocabulary.words,
        tokenizer=vocabulary.tokenizer,
        notes=targets.notes,
        num_steps=num_steps,
        **describe_clips(loaded, held_back),
    )
    probe = Probe(network, head, info, features)
    if targets.kind is None:
        return probe
    return add_accuracy(probe, loaded.frames[held_back], indices[held_back])


def load_clips(clips: RealClips, should_stop: ShouldStop = never) -> LoadedClips:
    """Load real clips at the probe's size, and measure their pixels.

    Raises:
        UserError, ProbeStoppedError: as `build_probe`.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    prompts: list[str] = []
    labels: list[object] = []
    with tqdm(total=clips.num_clips, desc="read clips", unit="clip", delay=2.0) as progress:
        for start in range(0, clips.num_clips, CLIPS_AT_ONCE):
            if should_stop():
                raise ProbeStoppedError
            indices = range(start, min(start + CLIPS_AT_ONCE, clips.num_clips))
            frames, some, some_labels = clips.read_with_labels(indices)
            parts.append((resize_clips(frames), make_thumbnails(frames), measure_motion(frames)))
            prompts += some
            labels += some_labels
            progress.update(len(indices))
    resized, thumbnails, motion = (np.concatenate(part) for part in zip(*parts, strict=True))
    return LoadedClips(resized, prompts, labels, thumbnails, motion)


def shuffle_clips(clips: Sequence[int] | np.ndarray, settings: ProbeSettings) -> np.ndarray:
    """Shuffle indices of real clips (K,).

    Unshuffled, they are ordered by the parts of a mixture.
    """
    return np.asarray(clips)[permutation(len(clips), settings.seed, "held-back clips")]


def standardise(network: ProbeNetwork, frames: np.ndarray) -> np.ndarray:
    """Set the network's feature statistics; return standardised features (N, 64).

    Constant features are not scaled.
    """
    features = torch.from_numpy(extract_features(network, frames))
    std, mean = torch.std_mean(features, dim=0)
    std = torch.where(std > SMALLEST_STD, std, 1)
    network.feature_mean.copy_(mean)
    network.feature_std.copy_(std)
    return ((features - mean) / std).numpy()


def describe_clips(loaded: LoadedClips, clips: np.ndarray) -> dict[str, Any]:
    """Return the fields of `ProbeInfo` that describe real clips (K,)."""
    texts, _ = read_labels(loaded.labels)
    labels = tuple(texts[place] for place in clips) if texts else ()
    prompts = tuple(loaded.prompts[place] for place in clips)
    _, groups = group_clips(prompts, labels)
    motion = loaded.motion[clips]
    real = RealNumbers(
        motion_energy=float(motion[:, 0].mean()),
        speed_variation=mean_if_any(motion[:, 1]),
        pixel_variance=group_variances(loaded.thumbnails[clips], groups),
    )
    return {"prompts": prompts, "labels": labels, "real": real}


def add_accuracy(probe: Probe, frames: np.ndarray, wanted: np.ndarray) -> Probe:
    """Measure how well a probe names its real clips, with both controls.

    frames (K, T, 32, 32, 3), `wanted` (K,) the indices of their right names.
    """
    seed, prompts = probe.info.settings.seed, probe.info.prompts
    named = probe.name_clips(probe.features, prompts)
    dealt = permutation(len(wanted), seed, "shuffled prompts")
    dealt_named = probe.name_clips(probe.features, [prompts[place] for place in dealt])
    order = random_generator(seed, "shuffled frames").random(frames.shape[:2]).argsort(axis=1)
    shuffled = extract_features(probe.network, frames[np.arange(len(frames))[:, None], order])
    accuracy = {
        "accuracy": float(np.mean(named == wanted)),
        "accuracy_prompts_shuffled": float(np.mean(dealt_named == wanted[dealt])),
        "accuracy_frames_shuffled": float(np.mean(probe.name_clips(shuffled, prompts) == wanted)),
        "confusion": {} if probe.targets.kind == "caption" else probe.count_named(wanted, named),
    }
    real = probe.info.real.model_copy(update=accuracy)
    return replace(probe, info=probe.info.model_copy(update={"real": real}))
