"""Measure generated clips of any data relative to its real clips."""

from collections.abc import Sequence

import numpy as np

from t2vgan.evaluation.clip_features import ClipAnalyzer, ClipFeatures, compute_features
from t2vgan.evaluation.distribution.compare import Distance, measure_distance
from t2vgan.evaluation.distribution.distances import frechet_distance
from t2vgan.evaluation.distribution.motion_energy import (
    SMALLEST_SPEED,
    measure_motion,
    path_speed_variation,
)
from t2vgan.evaluation.distribution.variance import (
    GroupedBy,
    group_clips,
    group_variances,
    variance_ratio,
)
from t2vgan.evaluation.generated_clips import FINENESS, GeneratedClips
from t2vgan.evaluation.probe.probe import Probe
from t2vgan.evaluation.prompt_accuracy.diversity import mean_if_any
from t2vgan.evaluation.prompt_accuracy.object_paths import Track
from t2vgan.evaluation.prompt_accuracy.prompts import merge_paraphrases
from t2vgan.evaluation.scores import Interval, wilson_interval
from t2vgan.evaluation.sharding import map_over_ranks
from t2vgan.utils.frozen import Frozen
from t2vgan.utils.seeds import permutation

CLIPS_PER_HELD_OUT = 8


class Agreement(Frozen):
    """How often the probe recognises what the prompt asks for."""

    kind: str
    """label, prompt, or caption (the right one among 32)."""
    num_names: int
    """Number of classes, or of captions from which 31 others are drawn."""
    num_clips: int
    """Number of clips whose prompt has a class; others are left out."""
    accuracy: float | None
    accuracy_interval: Interval | None
    real: float
    """Accuracy on held-back real clips: the ceiling."""
    real_prompts_shuffled: float
    """Accuracy on these with shuffled prompts: a floor."""
    real_frames_shuffled: float
    """Accuracy on these with shuffled frames."""
    confusion: dict[str, dict[str, int]]
    """Class asked for -> class named -> number of generated clips; empty for captions."""
    real_confusion: dict[str, dict[str, int]]


class ClipNumbers(Frozen):
    """Numbers that need no meter; None if they cannot be measured."""

    num_clips: int
    num_real_clips: int
    """Number of held-back real clips used for comparison."""
    agreement: Agreement | None
    agreement_held_out: Agreement | None = None
    """Agreement of clips of held-out prompts, for captions; no other number includes these."""
    grouped_by: GroupedBy
    """What the clips of a group share, within which variety is measured."""
    diversity_pixels: float | None
    """Std of thumbnails within a group, relative to real clips; 1 is ideal."""
    diversity_features: float | None
    """The same for the probe's features."""
    motion_energy: float
    """Mean absolute difference of successive frames, relative to real clips; 1 is ideal."""
    speed_variation: float | None
    """Coefficient of variation of the change per step, mean over clips that move."""
    speed_variation_real: float | None
    speed_variation_between: float | None = None
    """The same for some of these clips, with frames between the trained times."""
    path_speed_variation: float | None = None
    """Coefficient of variation of the speed of the object's centre, if it can be tracked."""
    path_speed_variation_real: float | None = None
    path_speed_variation_between: float | None = None
    frechet: Distance | None

    def with_paths(self, generated: Track | None, real: Track | None) -> "ClipNumbers":
        """Return the numbers with the speed of objects, if there are tracks."""
        if generated is None or real is None:
            return self
        found = {
            "path_speed_variation": mean_if_any(path_speed_variation(generated)),
            "path_speed_variation_real": mean_if_any(path_speed_variation(real)),
        }
        return self.model_copy(update=found)


def measure_clips(frames: np.ndarray, prompts: Sequence[str], probe: Probe) -> ClipNumbers:
    """Measure generated clips relative to real ones.

    Frames are (N, T, H, W, 3) uint8, with N prompts. Real clips are those that the probe was not
    trained on.
    """
    return compute_clip_numbers(compute_features(frames, probe.network), prompts, probe)


def compute_clip_numbers(clips: ClipFeatures, prompts: Sequence[str], probe: Probe) -> ClipNumbers:
    """Compute the numbers of N generated clips from their features."""
    info = probe.info
    grouped_by, real_groups = group_clips(info.prompts, info.labels)
    groups = group_generated(grouped_by, prompts, probe)
    diversity = {
        "pixels": (clips.thumbnails, info.real.pixel_variance),
        "features": (clips.features, group_variances(probe.features, real_groups)),
    }
    ratios = {
        name: variance_ratio(group_variances(values, groups), real)
        for name, (values, real) in diversity.items()
    }
    return ClipNumbers(
        num_clips=len(prompts),
        num_real_clips=len(info.prompts),
        agreement=measure_agreement(clips.features, prompts, probe),
        grouped_by=grouped_by,
        diversity_pixels=ratios["pixels"],
        diversity_features=ratios["features"],
        motion_energy=float(clips.motion[:, 0].mean()) / max(info.real.motion_energy, 1e-6),
        speed_variation=mean_if_any(clips.motion[:, 1]),
        speed_variation_real=info.real.speed_variation,
        frechet=measure_distance(frechet_distance, clips.features, probe.features),
    )


def measure_between(
    numbers: ClipNumbers, source: GeneratedClips, clips: np.ndarray, analyzer: ClipAnalyzer
) -> ClipNumbers:
    """Add the smoothness of clips drawn between the trained times (collective)."""

    def measure(places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        frames = source.read_between(clips[places].tolist())
        track = None if analyzer.track is None else analyzer.track(frames)
        paths = np.full(len(frames), np.nan) if track is None else path_speed_variation(track)
        return measure_motion(frames, SMALLEST_SPEED / FINENESS)[:, 1], paths

    parts = map_over_ranks(analyzer.context, len(clips), measure, label="clips between frames")
    pixels, paths = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = {
        "speed_variation_between": mean_if_any(pixels),
        "path_speed_variation_between": mean_if_any(paths),
    }
    return numbers.model_copy(update=found)


def group_generated(grouped_by: GroupedBy, prompts: Sequence[str], probe: Probe) -> list[str]:
    """Return the group of each generated clip, consistent with real clips."""
    if grouped_by == "prompt":
        return merge_paraphrases(prompts, known=probe.info.prompts)
    if grouped_by == "label":
        labels = probe.info.prompt_labels
        return [labels.get(prompt, f"none: {prompt}") for prompt in prompts]
    return [""] * len(prompts)


def measure_agreement(
    features: np.ndarray, prompts: Sequence[str], probe: Probe
) -> Agreement | None:
    """Measure how often the probe names clips with these features as prompted.

    Returns None if the probe names nothing (`probe.info.notes` gives the reason).
    """
    info, targets = probe.info, probe.targets
    if targets.kind is None:
        return None
    wanted = targets.of_prompts(prompts)
    named = probe.name_clips(features, prompts)
    has_target = (wanted >= 0) | (targets.kind == "caption")
    wanted, named = wanted[has_target], named[has_target]
    num_right = int(np.sum(wanted == named))
    real = info.real
    assert real.accuracy is not None
    return Agreement(
        kind=targets.kind,
        num_names=len(targets.names),
        num_clips=len(wanted),
        accuracy=num_right / len(wanted) if len(wanted) else None,
        accuracy_interval=wilson_interval(num_right, len(wanted)) if len(wanted) else None,
        real=real.accuracy,
        real_prompts_shuffled=real.accuracy_prompts_shuffled or 0.0,
        real_frames_shuffled=real.accuracy_frames_shuffled or 0.0,
        confusion={} if targets.kind == "caption" else probe.count_named(wanted, named),
        real_confusion=real.confusion,
    )


def nameable_prompts(probe: Probe, prompts: Sequence[str]) -> list[str]:
    """Return the prompts without real clips that the probe can name.

    These are those with words that it knows. If it names classes there are none, because a prompt
    without real clips has no class.
    """
    if probe.targets.kind != "caption":
        return []
    return [prompt for prompt in prompts if probe.vocabulary.knows_any_of(prompt)]


def draw_prompts(prompts: Sequence[str], num_clips: int, *, seed: int = 0) -> list[str]:
    """Draw prompts with the frequencies of `prompts`, those of real clips."""
    order = permutation(len(prompts), seed, "drawn prompts")
    return [prompts[order[index % len(prompts)]] for index in range(num_clips)]


def add_held_out(prompts: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """Replace the last prompts by held-out ones.

    At most a quarter is replaced, and each held-out prompt gets at most 8 clips.
    """
    num_held_out = min(len(prompts) // 4, CLIPS_PER_HELD_OUT * len(held_out))
    dealt = [held_out[index % len(held_out)] for index in range(num_held_out)]
    return [*prompts[: len(prompts) - num_held_out], *dealt]
