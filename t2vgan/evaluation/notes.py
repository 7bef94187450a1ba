"""List what an evaluation could not measure, with reasons."""

from collections.abc import Iterator

from t2vgan.config.run import PUBLISHED_CLIPS
from t2vgan.evaluation.clip_numbers import ClipNumbers
from t2vgan.evaluation.distribution.near_copies import MIN_REAL_CLIPS
from t2vgan.evaluation.probe.probe import Probe
from t2vgan.evaluation.scores import RelativeToReal, Scores


def list_notes(
    scores: Scores | None,
    relative: RelativeToReal | None,
    numbers: ClipNumbers | None,
    probe: Probe,
    fingerprint: str,
    num_real_clips: int,
) -> list[str]:
    """List what is missing, as lines; `fingerprint` is the data's."""
    return [
        *_meter_notes(scores, relative),
        *_probe_notes(numbers, probe, fingerprint),
        *(
            [f"near copies: needs {MIN_REAL_CLIPS} real clips, found {num_real_clips}"]
            if num_real_clips < MIN_REAL_CLIPS
            else []
        ),
    ]


def _meter_notes(scores: Scores | None, relative: RelativeToReal | None) -> Iterator[str]:
    if scores is not None and scores.num_clips < PUBLISHED_CLIPS:
        yield (
            f"accuracy: measured on {scores.num_clips} clips; publish it only for"
            f" {PUBLISHED_CLIPS} or more"
        )
    if relative is not None and relative.diversity is None:
        yield (
            "diversity: needs prompts with at least two clips in which the object can be tracked,"
            " and real clips that vary"
        )


def _probe_notes(numbers: ClipNumbers | None, probe: Probe, fingerprint: str) -> Iterator[str]:
    if (trained_on := probe.info.dataset_fingerprint) != fingerprint:
        yield f"the probe was trained on other data ({trained_on[:12]}), on none of the real clips"
    reasons = "; ".join(probe.info.notes)
    if probe.targets.kind is None:
        yield (
            f"text-video agreement: not measured, because {reasons}; features are those of an"
            " untrained network"
        )
    elif reasons:
        yield f"text-video agreement: {reasons}"
    if numbers is None:
        yield "no readable clip has a training prompt: nothing is compared with real clips"
        return
    if (agreement := numbers.agreement) and agreement.num_clips < numbers.num_clips:
        yield (
            f"text-video agreement: {numbers.num_clips - agreement.num_clips} clips are left out,"
            f" because no real clip that the probe saw has their prompt"
        )
    if numbers.grouped_by != "prompt":
        same = "label" if numbers.grouped_by == "label" else "data"
        yield f"diversity: prompts have few real clips each, so clips of one {same} are compared"
