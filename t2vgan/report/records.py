"""Read the files of a run.

Damaged files are listed among the run's problems and are never fatal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.utils.records import (
    Record,
    get_interval,
    get_number,
    get_record,
    get_text,
    get_texts,
    iter_records,
    read_object,
)

EVALUATION_NAME = "evaluation.json"


@dataclass(frozen=True)
class Run:
    """One run's files, or only an evaluation without training.

    Every list of records is in the order of training.
    """

    run_dir: Path  # or the file of an evaluation without a run
    folder: Path  # holds the pictures
    is_trained: bool  # False if there is only an evaluation
    final_evaluation: Record  # evaluation.json, written after training with more clips
    data: Record  # the training data, with a picture of real clips
    config: Record = field(default_factory=dict)  # config.json
    environment: Record = field(default_factory=dict)  # run.json: hardware, versions, command
    train: Sequence[Record] = ()
    samples: Sequence[Record] = ()  # every prompt with one seed
    seeds: Sequence[Record] = ()  # some prompts with several seeds
    variety: Sequence[Record] = ()  # how much prompts and seeds change clips
    evaluations: Sequence[Record] = ()
    events: Sequence[Record] = ()
    problems: Sequence[str] = ()  # what could not be read, to be shown on the page

    @property
    def name(self) -> str:
        return self.run_dir.resolve().name

    @property
    def last(self) -> Record:
        """Return the record furthest into training."""
        kinds = (self.train, self.samples, self.seeds, self.variety, self.evaluations, self.events)
        records = [record for kind in kinds for record in kind]
        return max(records or [self.data], key=lambda record: (record["step"], record["seconds"]))

    @property
    def warnings(self) -> list[Record]:
        """Return the events that need attention: bad steps, bad data, alarms."""
        return [event for event in self.events if event.get("warning") is True]

    @property
    def alarms(self) -> list[Record]:
        """Return the events that raised the alarms still active."""
        latest = {name: event for event in self.events if (name := get_text(event, "alarm"))}
        return [event for event in latest.values() if event.get("over") is not True]

    @property
    def best_evaluation(self) -> Record | None:
        """Return the evaluation whose weights the run keeps as its best.

        It is the last one whose accuracy on training prompts is not measurably below the highest:
        that lies in its 95 % interval.
        """
        rated = [
            record for record in self.evaluations if get_number(record, "accuracy") is not None
        ]
        highest = max((record["accuracy"] for record in rated), default=0.0)

        def reaches(record: Record) -> bool:
            interval = get_interval(record, "accuracy_interval")
            return bool(max(record["accuracy"], interval[1] if interval else 0.0) >= highest)

        return next(filter(reaches, reversed(rated)), None)

    @property
    def held_out_prompts(self) -> frozenset[str]:
        """Return the prompts that any file lists as held out."""
        sources = (self.final_evaluation, *self.evaluations, *self.samples, *self.seeds)
        return frozenset(
            prompt for source in sources for prompt in get_texts(source, "held_out_prompts")
        )


def read_run(run_dir: Path) -> Run:
    """Read a run's files.

    Raises:
        UserError: the folder holds no training record.
    """
    metrics = run_dir / "metrics.jsonl"
    if not metrics.is_file():
        what = "holds no metrics.jsonl" if run_dir.exists() else "is not there"
        raise UserError(
            f"{run_dir} {what}; give the folder of a training run, such as runs/quickstart"
        )
    problems: list[str] = []
    records = _read_metrics(metrics, problems)
    by_kind = {
        kind: [record for record in records if record["kind"] == kind]
        for kind in ("data", "train", "samples", "seeds", "variety", "evaluation", "event")
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
        variety=by_kind["variety"],
        evaluations=by_kind["evaluation"],
        events=by_kind["event"],
        problems=problems,
    )


def read_evaluation(file: Path) -> Run:
    """Read a record of `t2vgan evaluate` as a run.

    Raises:
        UserError: the file is not such a record.
    """
    record = _read_json(file, [])
    if not has_accuracy(record) and not get_record(record, "clip_numbers"):
        raise UserError(
            f"{file} is not an evaluation; write one with t2vgan evaluate --videos DIR"
            " --data DATA --out FILE"
        )
    protocol, shown = get_record(record, "protocol"), get_record(record, "shown")
    clocks = {
        "step": get_number(protocol, "weights_step") or 0,
        "clips_seen": get_number(protocol, "weights_clips_seen") or 0,
        "seconds": 0,
    }
    return Run(
        run_dir=file,
        folder=file.parent,
        is_trained=False,
        final_evaluation=record,
        data=clocks,
        samples=[{**protocol, **shown, **clocks, "kind": "samples"}] if shown else [],
    )


def has_accuracy(record: Record) -> bool:
    """Return whether evaluation.json holds an accuracy of any prompts."""
    scores = get_scores(record)
    return any(get_number(scores, key) is not None for key in ("accuracy", "accuracy_held_out"))


def get_scores(evaluation: Record) -> Record:
    """Return the scores of the generated clips in evaluation.json."""
    return get_record(evaluation, "generated") or evaluation


def _read_metrics(path: Path, problems: list[str]) -> list[Record]:
    records = list(iter_records(path))
    readable: list[Record] = [record for record in records if record is not None]
    if len(readable) < len(records):
        damaged = len(records) - len(readable)
        problems.append(f"metrics.jsonl: lines that are not records: {damaged}")
    return readable


def _read_json(path: Path, problems: list[str]) -> Record:
    if not path.is_file():
        return {}
    if (found := read_object(path)) is None:
        problems.append(f"{path.name}: not a JSON object")
    return found or {}
