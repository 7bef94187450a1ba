"""An evaluation as a compact table for the terminal."""

from collections.abc import Iterator

from t2vgan.evaluation.evaluate import Control, Evaluation
from t2vgan.evaluation.prompts import expected_objects
from t2vgan.evaluation.scores import Interval, Scores, motions_of, wilson_interval

NAME_WIDTH = 36


def format_evaluation(evaluation: Evaluation) -> str:
    """Return accuracy by prompt, the totals with their ceiling and controls, and the rest."""
    lines = [
        *_prompt_lines(evaluation.generated),
        *_attribute_lines(evaluation),
        "",
        *_total_lines(evaluation),
        "",
        *_quality_lines(evaluation),
    ]
    return "\n".join(line.rstrip() for line in lines)


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


def _attribute_lines(evaluation: Evaluation) -> Iterator[str]:
    """Say how often each attribute is right, where prompts name more than one."""
    scores = evaluation.generated.per_attribute
    if len(scores) < 2:
        return
    held_out = evaluation.protocol.num_held_out_clips
    yield f"{'attribute':{NAME_WIDTH}} {'clips':>6} {'right':>7}  95 % interval"
    for name, score in scores.items():
        num_clips = evaluation.generated.num_clips - held_out
        yield _line(name, num_clips, score.right, score.right_interval)
        if held_out:
            right, interval = score.right_held_out, score.right_held_out_interval
            yield _line(f"  {name}, held out", held_out, right, interval)


def _total_lines(evaluation: Evaluation) -> Iterator[str]:
    generated, controls = evaluation.generated, evaluation.controls
    num_real = evaluation.ceiling.num_clips
    held_out = evaluation.protocol.num_held_out_clips
    rows: list[tuple[str, int, Scores | Control]] = [
        ("training prompts", generated.num_clips - held_out, generated),
        ("real clips (the ceiling)", num_real, evaluation.ceiling),
        (f"  prompts shuffled (chance {controls.chance:.1%})", num_real, controls.shuffled_prompts),
        ("  frames shuffled", num_real, controls.shuffled_frames),
    ]
    for name, num_clips, scores in rows:
        yield _line(name, num_clips, scores.accuracy, scores.accuracy_interval)
        if scores is generated and held_out:
            accuracy, interval = scores.accuracy_held_out, scores.accuracy_held_out_interval
            yield _line("held-out prompts", held_out, accuracy, interval)


def _quality_lines(evaluation: Evaluation) -> Iterator[str]:
    both = (evaluation.generated, evaluation.ceiling)

    def row(name: str, *cells: str) -> str:
        return f"{name:{NAME_WIDTH}}" + "".join(f" {cell:>10}" for cell in cells)

    yield row("", "generated", "real")
    yield row("frames with exactly the objects asked", *(f"{s.one_object:.2%}" for s in both))
    yield row("flicker of the background (0..255)", *(f"{s.flicker:.2f}" for s in both))
    yield row("", "over real")
    for name, value in evaluation.relative_to_real:
        yield row(name.replace("_", ", ", 1), "-" if value is None else f"{value:.2f}")


def _line(name: str, num_clips: int, accuracy: float | None, interval: Interval | None) -> str:
    if accuracy is None or interval is None:
        return f"{name:{NAME_WIDTH}} {num_clips:6d} {'-':>7}"
    limits = f"{interval[0]:.1%} .. {interval[1]:.1%}"
    return f"{name:{NAME_WIDTH}} {num_clips:6d} {accuracy:7.1%}  {limits:15}"
