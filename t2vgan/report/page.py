"""Write the HTML report of one run."""

from collections.abc import Sequence
from pathlib import Path

from t2vgan.report import reproduce
from t2vgan.report.attributes import build_attributes
from t2vgan.report.contact_sheets import build_moments_sheet, build_seeds_sheet
from t2vgan.report.curves import build_curves
from t2vgan.report.formatting import format_count, format_duration, format_percent, shorten
from t2vgan.report.records import Run, read_run
from t2vgan.report.scores import (
    build_evaluation_table,
    build_prompt_table,
    explain_absence,
    latest_accuracy,
    latest_agreement,
)
from t2vgan.report.templating import render
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.records import Record, get_number, get_text

TARGET_ACCURACY = 0.95
MAX_EVENTS = 200
MAX_WARNINGS = 5


def write_report(run_dir: Path | str, out: Path | str | None = None) -> Path:
    """Write a run's report and return its path.

    out: the file to write, by default `run_dir/report.html`.

    Raises UserError if `run_dir` holds no metrics. Everything else may be missing (samples,
    evaluations, config); the page then names what is missing.
    """
    run_dir = Path(run_dir)
    report = run_dir / "report.html" if out is None else Path(out)
    atomic_write_bytes(report, render_page(read_run(run_dir)).encode(errors="replace"))
    return report


def render_page(run: Run) -> str:
    """Return the HTML page of one run."""
    problems = list(run.problems)
    accuracy, held_out, accuracy_source = latest_accuracy(run)
    agreement = latest_agreement(run)
    return render(
        "run.html",
        run=run,
        problems=problems,  # the sheets add problems
        accuracy=accuracy,
        held_out=held_out,
        agreement=get_number(agreement, "accuracy"),
        agreement_real=get_number(agreement, "real"),
        agreement_floor=get_number(agreement, "real_prompts_shuffled"),
        accuracy_source=accuracy_source,
        time_to_target=_time_to_target(run),
        device=_device(run.environment),
        alarms=_format_alarms(run),
        warnings=_format_warnings(run),
        seeds=build_seeds_sheet(run, problems),
        moments=build_moments_sheet(run, problems),
        attributes=build_attributes(run),
        plots=build_curves(run),
        prompts=build_prompt_table(run),
        evaluation=build_evaluation_table(run),
        events=_format_events(run.events[-MAX_EVENTS:]),
        num_hidden_events=max(len(run.events) - MAX_EVENTS, 0),
        hardware=reproduce.list_hardware(run),
        settings=list(reproduce.flatten_record(run.config)),
        commands=reproduce.format_commands(run),
    )


def first_on_target(run: Run) -> Record | None:
    """Return the first evaluation whose accuracies all reach the target."""
    on_target = (r for r in run.evaluations if min(_accuracies(r), default=0) >= TARGET_ACCURACY)
    return next(on_target, None)


def _accuracies(record: Record) -> list[float]:
    """Return the measured accuracies on training and on held-out prompts."""
    shares = (get_number(record, key) for key in ("accuracy", "accuracy_held_out"))
    return [share for share in shares if share is not None]


def _time_to_target(run: Run) -> str:
    target = format_percent(TARGET_ACCURACY)
    record = first_on_target(run)
    if record is None:
        is_measured = any(_accuracies(record) for record in run.evaluations)
        return f"{target} not reached yet" if is_measured else f"{target}: {explain_absence(run)}"
    both = " on both" if len(_accuracies(record)) == 2 else ""
    return f"{target}{both} after {format_duration(record['seconds'])}"


def _device(environment: Record) -> tuple[str, str]:
    """Return the device's name, and its processes, cores and precision as text."""
    device = get_text(environment, "device") or "unknown"
    remarks = [
        f"{format_count(value)} {name}{'' if value == 1 else plural}"
        for key, name, plural in (("world_size", "process", "es"), ("cpu_cores", "core", "s"))
        if (value := get_number(environment, key)) is not None
    ]
    remarks += filter(None, [get_text(environment, "precision")])
    return device, ", ".join(remarks)


def _format_alarms(run: Run) -> list[str]:
    """Return the active alarms, since when, and what to try."""
    return [f"alarm since {step}: {message}" for step, _, message in _format_events(run.alarms)]


def _format_warnings(run: Run) -> list[str]:
    """Return the last warnings, latest first, and how many are not shown."""
    warnings = [event for event in run.warnings if event not in run.alarms]
    events = _format_events(warnings[-MAX_WARNINGS:])
    hidden = len(warnings) - MAX_WARNINGS
    shown = [f"{step}: {message}" for step, _, message in reversed(events)]
    return shown + ([f"{format_count(hidden)} earlier warnings"] if hidden > 0 else [])


def _format_events(events: Sequence[Record]) -> list[tuple[str, str, str]]:
    """Return the step, time and message of each event."""
    steps = (f"step {format_count(event['step'])}" for event in events)
    times = (format_duration(event["seconds"]) for event in events)
    messages = (get_text(event, "message") or "(no message)" for event in events)
    shown = (shorten(message, 2000) for message in messages)
    return list(zip(steps, times, shown, strict=True))
