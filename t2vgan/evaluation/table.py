"""An evaluation as a compact table for the terminal."""

from collections.abc import Iterator

from t2vgan.evaluation.evaluate import Control, Evaluation
from t2vgan.evaluation.motion import expected_motion
from t2vgan.evaluation.scores import Interval, Scores, wilson_interval

NAME_WIDTH = 36


def format_evaluation(evaluation: Evaluation) -> str:
    """Return accuracy by prompt, the totals with their ceiling and controls, and the rest."""
    return "\n".join(
        [
            *_prompt_lines(evaluation.generated),
            "",
            *_total_lines(evaluation),
            "",
            *_quality_lines(evaluation),
        ]
    )


def _prompt_lines(scores: Scores) -> Iterator[str]:
    yield f"{'prompt':{NAME_WIDTH}} {'clips':>6} {'right':>7}  {'95 % interval':15}  seen instead"
    for prompt, accuracy in scores.per_prompt.items():
        num_clips = scores.clips_per_prompt[prompt]
        interval = wilson_interval(round(accuracy * num_clips), num_clips)
        instead = [
            f"{seen} {count}"
            for seen, count in scores.confusion[prompt].items()
            if seen != expected_motion(prompt)
        ]
        line = _line(prompt, num_clips, accuracy, interval)
        yield f"{line}  {', '.join(instead[:3])}".rstrip()


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
    generated, real, ratio = evaluation.generated, evaluation.ceiling, evaluation.relative_to_real
    yield f"{'':{NAME_WIDTH}} {'generated':>10} {'real':>10}"
    yield f"{'frames with exactly one object':{NAME_WIDTH}} {generated.one_object:10.2%} {real.one_object:10.2%}"
    yield f"{'background flicker, grey levels':{NAME_WIDTH}} {generated.flicker:10.2f} {real.flicker:10.2f}"
    yield f"{'':{NAME_WIDTH}} {'over real':>10}"
    for name, value in ratio:
        yield f"{name.replace('_', ', ', 1):{NAME_WIDTH}} {'-' if value is None else f'{value:.2f}':>10}"


def _line(name: str, num_clips: int, accuracy: float | None, interval: Interval | None) -> str:
    if accuracy is None or interval is None:
        return f"{name:{NAME_WIDTH}} {num_clips:6d} {'-':>7}  {'':15}"
    limits = f"{interval[0]:.1%} .. {interval[1]:.1%}"
    return f"{name:{NAME_WIDTH}} {num_clips:6d} {accuracy:7.1%}  {limits:15}"
