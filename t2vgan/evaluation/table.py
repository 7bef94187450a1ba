"""Format an evaluation as a compact table for the terminal."""

import itertools
import textwrap
from collections.abc import Iterator

from t2vgan.evaluation.clip_numbers import ClipNumbers
from t2vgan.evaluation.distribution.compare import Distance
from t2vgan.evaluation.prompt_accuracy.controls import Control, Controls
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.evaluation.record import Evaluation
from t2vgan.evaluation.scores import Interval, Scores, motions_of, wilson_interval
from t2vgan.evaluation.video_folder import FolderSummary

NAME_WIDTH = 36
MAX_WIDTH = 100
MAX_CLASSES_SHOWN = 40
MAX_LISTED = 5  # problems of each kind; the record has all


def format_evaluation(evaluation: Evaluation) -> str:
    """Format accuracy by prompt, totals with ceiling and controls, other numbers."""
    lines = [
        *_meter_lines(evaluation),
        *_agreement_lines(evaluation.clip_numbers),
        *_number_lines(evaluation),
        "",
        *_distribution_lines(evaluation),
        *_video_lines(evaluation.videos),
        *itertools.chain.from_iterable(_wrap(f"note: {note}") for note in evaluation.notes),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _meter_lines(evaluation: Evaluation) -> Iterator[str]:
    """Format the scores of the meter, or the reason for their lack."""
    if evaluation.generated is None or evaluation.ceiling is None or evaluation.controls is None:
        yield from _wrap(f"prompt accuracy: not measured, because {evaluation.accuracy_missing}")
        yield ""
        return
    both = evaluation.generated, evaluation.ceiling
    held_out = evaluation.protocol.num_held_out_clips
    yield from _prompt_lines(evaluation.generated)
    yield from _attribute_lines(*both, evaluation.controls)
    yield ""
    yield from _total_lines(*both, evaluation.controls, held_out)
    yield ""
    yield _row("", "generated", "real")
    yield _row("frames with exactly the objects asked", *(f"{s.one_object:.2%}" for s in both))
    yield _row("flicker of the background (0..255)", *(f"{s.flicker:.2f}" for s in both))
    yield _row("distance from the ideal path, pixels", *(_number(s.path_residual) for s in both))
    yield _row("", "over real")
    for name, value in evaluation.relative_to_real or ():
        yield _row(name.replace("_", ", ", 1), _number(value))
    yield ""


def _agreement_lines(numbers: ClipNumbers | None) -> Iterator[str]:
    """Format the text-video agreement, by class if classes are few."""
    if numbers is None or (agreement := numbers.agreement) is None:
        return
    heading = f"text-video agreement ({agreement.kind})"
    yield f"{heading:{NAME_WIDTH}} {'clips':>6} {'right':>7}  {'95 % interval':15}  {'real':>6}"
    counts = agreement.confusion if len(agreement.confusion) <= MAX_CLASSES_SHOWN else {}
    for name, seen in counts.items():
        num_clips = sum(seen.values())
        interval = wilson_interval(seen.get(name, 0), num_clips)
        line = _line(name, num_clips, seen.get(name, 0) / num_clips, interval)
        real = agreement.real_confusion.get(name, {})
        ceiling = real.get(name, 0) / sum(real.values()) if real else None
        instead = ", ".join(f"{n} {count}" for n, count in seen.items() if n != name and count)
        yield f"{line}  {_percent(ceiling):>6}  {instead}"[:MAX_WIDTH]
    rows: list[tuple[str, int, float | None, Interval | None]] = [
        ("generated clips", agreement.num_clips, agreement.accuracy, agreement.accuracy_interval)
    ]
    if (other := numbers.agreement_held_out) is not None:
        held_out = "held-out prompts", other.num_clips, other.accuracy, other.accuracy_interval
        rows.append(held_out)
    for name, share in (
        ("real clips held back (the ceiling)", agreement.real),
        ("  prompts shuffled", agreement.real_prompts_shuffled),
        ("  frames shuffled", agreement.real_frames_shuffled),
    ):
        num_real = numbers.num_real_clips
        rows.append((name, num_real, share, wilson_interval(round(share * num_real), num_real)))
    yield from (_line(*row) for row in rows)
    yield ""


def _number_lines(evaluation: Evaluation) -> Iterator[str]:
    """Format numbers that need no meter."""
    if (numbers := evaluation.clip_numbers) is not None:
        yield _row("", "over real")
        same = {"nothing": "of all clips"}.get(numbers.grouped_by, f"of one {numbers.grouped_by}")
        yield _row(f"diversity {same}, pixels", _number(numbers.diversity_pixels))
        yield _row(f"diversity {same}, features", _number(numbers.diversity_features))
        yield _row("motion energy", _number(numbers.motion_energy))
        yield _row("", "generated", "real", "between")
        speeds = (
            numbers.speed_variation,
            numbers.speed_variation_real,
            numbers.speed_variation_between,
        )
        yield _row("variation of speed, pixels", *map(_number, speeds))
        if numbers.path_speed_variation_real is not None:
            paths = (
                numbers.path_speed_variation,
                numbers.path_speed_variation_real,
                numbers.path_speed_variation_between,
            )
            yield _row("variation of speed, object", *map(_number, paths))
    if (copies := evaluation.near_copies) is not None:
        yield _row("near copies", f"{copies.share:.1%}", f"{copies.share_of_real:.1%}")


def _prompt_lines(scores: Scores) -> Iterator[str]:
    if not scores.per_prompt:
        return
    yield f"{'prompt':{NAME_WIDTH}} {'clips':>6} {'right':>7}  {'95 % interval':15}  seen instead"
    for prompt, seen in scores.confusion.items():
        instead = dict(seen)
        instead.pop(motions_of(expected_objects(prompt) or ()), 0)
        num_clips, accuracy = scores.clips_per_prompt[prompt], scores.per_prompt[prompt]
        interval = wilson_interval(round(accuracy * num_clips), num_clips)
        line = _line(prompt, num_clips, accuracy, interval)
        named = ", ".join(f"{motion} {count}" for motion, count in list(instead.items())[:3])
        yield f"{line}  {named}"


def _attribute_lines(generated: Scores, real: Scores, controls: Controls) -> Iterator[str]:
    """Format each attribute's accuracy, if prompts name more than one."""
    scores, ceiling = generated.per_attribute, real.per_attribute
    if len(scores) < 2:
        return
    yield (
        f"{'attribute':{NAME_WIDTH}} {'clips':>6} {'right':>7}  {'95 % interval':15}"
        f"  {'real':>6} {'prompts':>8} {'frames':>7}"
    )
    for name, score in scores.items():
        line = _line(name, score.num_clips, score.right, score.right_interval)
        beside = (
            ceiling[name].right if name in ceiling else None,
            *(
                control.per_attribute[name].right if name in control.per_attribute else None
                for control in (controls.shuffled_prompts, controls.shuffled_frames)
            ),
        )
        yield f"{line:{NAME_WIDTH + 32}} " + " ".join(f"{_percent(share):>7}" for share in beside)
        if score.num_held_out_clips:
            right, interval = score.right_held_out, score.right_held_out_interval
            yield _line(f"  {name}, held out", score.num_held_out_clips, right, interval)
    yield "(real clips; real clips with prompts shuffled; with frames shuffled)"


def _total_lines(
    generated: Scores, real: Scores, controls: Controls, held_out: int
) -> Iterator[str]:
    num_real = real.num_clips
    rows: list[tuple[str, int, Scores | Control]] = [
        ("training prompts", generated.num_clips - held_out, generated),
        ("real clips (the ceiling)", num_real, real),
        (f"  prompts shuffled (chance {controls.chance:.1%})", num_real, controls.shuffled_prompts),
        ("  frames shuffled", num_real, controls.shuffled_frames),
    ]
    for name, num_clips, scores in rows:
        yield _line(name, num_clips, scores.accuracy, scores.accuracy_interval)
        if scores is generated and held_out:
            accuracy, interval = generated.accuracy_held_out, generated.accuracy_held_out_interval
            yield _line("held-out prompts", held_out, accuracy, interval)


def _distribution_lines(evaluation: Evaluation) -> Iterator[str]:
    distances: dict[str, Distance | None] = {
        "Frechet distance": evaluation.distribution.frechet,
        "kernel distance": evaluation.distribution.kernel,
        "FVD": evaluation.distribution.fvd,
    }
    found = {name: distance for name, distance in distances.items() if distance is not None}
    if found:
        yield _row("from real clips", "generated", "real", "clips")
    for name, distance in found.items():
        values = (f"{distance.generated:.4g}", f"{distance.floor:.4g}", str(distance.num_clips))
        yield _row(name, *values)


def _video_lines(videos: FolderSummary | None) -> Iterator[str]:
    if videos is None:
        return
    num_bad = videos.num_listed - videos.num_readable
    yield (
        f"videos: {videos.num_listed} with a known prompt, {num_bad} of them not readable and"
        f" scored as empty; {videos.num_resampled} resampled in time, {videos.num_resized} resized"
    )
    for kind, texts in videos.problems.items():
        yield f"{kind.replace('_', ' ')}: {len(texts)}"
        yield from (f"  {text}" for text in texts[:MAX_LISTED])
        if len(texts) > MAX_LISTED:
            yield f"  ... and {len(texts) - MAX_LISTED} more, all in the record"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, MAX_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _row(name: str, *cells: str) -> str:
    return f"{name:{NAME_WIDTH}}" + "".join(f" {cell:>10}" for cell in cells)


def _line(name: str, num_clips: int, accuracy: float | None, interval: Interval | None) -> str:
    if accuracy is None or interval is None:
        return f"{name:{NAME_WIDTH}} {num_clips:6d} {'-':>7}"
    limits = f"{interval[0]:.1%} .. {interval[1]:.1%}"
    return f"{name:{NAME_WIDTH}} {num_clips:6d} {accuracy:7.1%}  {limits:15}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
