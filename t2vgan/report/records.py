"""What a run left in its folder, read with tolerance: a damaged piece is named, never fatal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2vgan.errors import UserError

Record = Mapping[str, Any]

EVALUATION_NAME = "evaluation.json"
CLOCKS = ("step", "clips_seen", "seconds")  # every record has them
LARGEST = 1e300  # beyond it sums and the ranges of axes overflow


@dataclass(frozen=True)
class Run:
    """One run's files. Every list of records is in the order of training.

    Of somebody else's system there is an evaluation alone.
    """

    run_dir: Path  # or the file of an evaluation alone
    folder: Path  # its pictures lie in there
    is_trained: bool  # here: there is more than an evaluation
    config: Record  # config.json
    environment: Record  # run.json: hardware, versions, command, git commit
    final_evaluation: Record  # evaluation.json, written after training with more clips
    data: Record  # what it learns from, with a picture of real clips
    train: Sequence[Record]
    samples: Sequence[Record]  # each prompt once
    seeds: Sequence[Record]  # some prompts with several seeds
    evaluations: Sequence[Record]
    events: Sequence[Record]
    problems: Sequence[str]  # what could not be read, for the reader of the page

    @property
    def name(self) -> str:
        return self.run_dir.resolve().name

    @property
    def last(self) -> Record:
        """The record furthest into training."""
        records = (*self.train, *self.samples, *self.seeds, *self.evaluations, *self.events)
        return max(records or [self.data], key=lambda record: (record["step"], record["seconds"]))

    @property
    def warnings(self) -> list[Record]:
        """The events that call for somebody: bad steps, bad data, a dull game."""
        return [event for event in self.events if event.get("warning") is True]

    @property
    def best_evaluation(self) -> Record | None:
        """The first of those most accurate on training prompts, whose weights the run keeps."""
        rated = [record for record in self.evaluations if number(record, "accuracy") is not None]
        return max(rated, key=lambda record: record["accuracy"], default=None)

    @property
    def held_out_prompts(self) -> frozenset[str]:
        """Prompts that any of the run's files names as held out from training."""
        sources = (self.final_evaluation, *self.evaluations, *self.samples, *self.seeds)
        return frozenset(
            prompt for source in sources for prompt in texts(source, "held_out_prompts")
        )


def read_run(run_dir: Path) -> Run:
    """Read a run's files; `UserError` if the folder holds no training record at all."""
    metrics = run_dir / "metrics.jsonl"
    if not metrics.is_file():
        what = "holds no metrics.jsonl" if run_dir.exists() else "is not there"
        raise UserError(
            f"{run_dir} {what}; name the folder of a training run, such as runs/quickstart"
        )
    problems: list[str] = []
    records = _read_metrics(metrics, problems)
    by_kind = {
        kind: [record for record in records if record["kind"] == kind]
        for kind in ("data", "train", "samples", "seeds", "evaluation", "event")
    }
    if not any(by_kind.values()):
        raise UserError(f"{metrics} holds no readable record; train the run first")
    return Run(
        run_dir=run_dir,
        folder=run_dir,
        is_trained=True,
        config=_read_json(run_dir / "config.json", problems),
        environment=_read_json(run_dir / "run.json", problems),
        final_evaluation=_read_json(run_dir / EVALUATION_NAME, problems),
        data=by_kind["data"][-1] if by_kind["data"] else {},
        train=by_kind["train"],
        samples=by_kind["samples"],
        seeds=by_kind["seeds"],
        evaluations=by_kind["evaluation"],
        events=by_kind["event"],
        problems=problems,
    )


def read_evaluation(file: Path) -> Run:
    """Read a record of `python -m t2vgan.evaluation` as a run of which nothing else is known.

    UserError if it is none.
    """
    record = _read_json(file, [])
    if not is_evaluation(record):
        raise UserError(
            f"{file} is no evaluation; python -m t2vgan.evaluation --videos DIR --data DATA"
            " --out FILE writes one"
        )
    protocol, shown = table(record, "protocol"), table(record, "shown")
    clocks = {
        "step": number(protocol, "weights_step") or 0,
        "clips_seen": number(protocol, "weights_clips_seen") or 0,
        "seconds": 0,
    }
    return Run(
        run_dir=file,
        folder=file.parent,
        is_trained=False,
        config={},
        environment={},
        final_evaluation=record,
        data=clocks,
        train=[],
        samples=[{**protocol, **shown, **clocks, "kind": "samples"}] if shown else [],
        seeds=[],
        evaluations=[],
        events=[],
        problems=[],
    )


def is_evaluation(record: Record) -> bool:
    """Whether evaluation.json says how accurate clips are, on prompts of either kind."""
    scores = table(record, "generated") or record
    return any(number(scores, key) is not None for key in ("accuracy", "accuracy_held_out"))


def number(record: Record, key: str) -> float | None:
    """Return a number from a record, finite and not beyond LARGEST, else None."""
    return _number(record.get(key))


def text(record: Record, *keys: str) -> str | None:
    """Return the first of `keys` that holds a non-empty string, else None."""
    values = (record.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str) and value), None)


def texts(record: Record, key: str) -> list[str]:
    """Return a record's list of strings; empty if there is none."""
    value = record.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def find(record: Record, path: str) -> float | None:
    """Return the finite number under `outer.inner`, a key of an inner object, else None."""
    *outer, key = [path] if path in record else path.split(".")
    for name in outer:
        record = table(record, name)
    return number(record, key)


def interval(record: Record, key: str) -> tuple[float, float] | None:
    """Return the two numbers of a confidence interval, else None."""
    match record.get(key):
        case [low, high] if None not in (_number(low), _number(high)):
            return low, high
    return None


def table(record: Record, key: str) -> Record:
    """Return a record's inner object; empty if there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST else None


def _read_metrics(path: Path, problems: list[str]) -> list[Record]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = [_parse(line) for line in lines if line.strip()]
    readable = [record for record in records if _is_record(record)]
    if len(readable) < len(records):
        damaged = len(records) - len(readable)
        problems.append(f"metrics.jsonl: lines that are not records: {damaged}")
    return readable


def _is_record(value: Any) -> bool:
    """Whether a value has a kind and the three clocks: finite and not negative."""
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return False
    clocks = (number(value, key) for key in CLOCKS)
    return all(clock is not None and clock >= 0 for clock in clocks)


def _read_json(path: Path, problems: list[str]) -> Record:
    if not path.is_file():
        return {}
    value = _parse(path.read_text(encoding="utf-8", errors="replace"))
    if isinstance(value, dict):
        return value
    problems.append(f"{path.name}: not a JSON object")
    return {}


def _parse(line: str) -> Any:
    """Parse JSON, NaN and infinities as null; None if it is damaged."""
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
