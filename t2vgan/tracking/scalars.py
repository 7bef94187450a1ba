"""Convert records of metrics.jsonl to scalars and table rows for trackers."""

from collections.abc import Iterator, Mapping
from typing import Any

from t2vgan.tracking.metrics_log import Record

AXES = {"step", "clips_seen", "wall_time"}
PER_PROMPT = {"per_prompt", "clips_per_prompt", "confusion"}  # rows of a table
THROUGHPUT = {
    *("clips_per_second", "memory_gb", "seconds", "safety_seconds", "waiting_seconds"),
    *("rank_skew", "slowest_rank"),
}

PROMPT_COLUMNS = ["prompt", "accuracy", "clips", "seen as"]


def scalars(record: Record) -> dict[str, float]:
    """Return a record's numbers by panel name, section/name, without axes.

    The section is the record's kind, unless that is "train", and the name of a nested object. A
    record of pictures has none, because its numbers only describe the pictures.
    """
    kind = record["kind"]
    numbers = {name: value for name, value in _numbers(record) if name not in AXES}
    if kind == "train":
        return {
            f"throughput/{name}" if name in THROUGHPUT else name: value
            for name, value in numbers.items()
        }
    if kind in ("data", "samples", "seeds"):
        return {}
    return {f"{kind}/{name}": value for name, value in numbers.items() if name != "seconds"}


def evaluation_tables(record: Record) -> dict[str, list[list[Any]]]:
    """Return an evaluation's tables by panel name, rows of `PROMPT_COLUMNS`, worst first.

    If no meter can read the clips, the rows are the names that the probe knows.
    """
    tables = {}
    if "per_prompt" in record:
        tables["evaluation/prompts"] = [
            [prompt, accuracy, record["clips_per_prompt"][prompt], record["confusion"][prompt]]
            for prompt, accuracy in record["per_prompt"].items()
        ]
    agreement = (record.get("clip_numbers") or {}).get("agreement") or {}
    if confusion := agreement.get("confusion"):
        tables["evaluation/names"] = [
            [name, seen.get(name, 0) / total, total, seen]
            for name, seen in confusion.items()
            if (total := sum(seen.values()))
        ]
    return {
        panel: [
            [*row[:3], ", ".join(f"{name} {count}" for name, count in row[3].items())]
            for row in sorted(rows, key=lambda row: row[1])
        ]
        for panel, rows in tables.items()
    }


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping) and name not in PER_PROMPT:
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value
