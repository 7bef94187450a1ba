"""What wandb wrote offline, read back from its own file format."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def offline_runs(folder: Path) -> list[Path]:
    """Return the record files of the runs below a folder, in the order they were started."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"))


def read_run(path: Path) -> list[Any]:
    """Return wandb's own records of a run."""
    from wandb.proto import wandb_internal_pb2

    records = []
    for data in leveldb_records(path.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def is_ended(path: Path) -> bool:
    """Return whether a run's record is whole: its exit is written last."""
    return any(record.HasField("exit") for record in read_run(path))


def run_ids(path: Path) -> set[str]:
    return {record.run.run_id for record in read_run(path) if record.HasField("run")}


def config_of(path: Path) -> dict[str, Any]:
    (run,) = [record.run for record in read_run(path) if record.HasField("run")]
    return {item.key: json.loads(item.value_json) for item in run.config.update}


def history_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows that were logged."""
    return [
        {
            item.key or ".".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for record in read_run(path)
        if record.HasField("history")
    ]


def axes_of(path: Path) -> dict[str, str]:
    """Return what each metric, or pattern of metrics, is drawn over."""
    metrics = [record.metric for record in read_run(path) if record.HasField("metric")]
    return {m.name or m.glob_name: m.step_metric for m in metrics}


def artifacts_of(path: Path) -> list[tuple[list[str], dict[str, Path]]]:
    """Return each artifact's aliases, and where the files in it wait to be sent."""
    artifacts = [
        record.request.log_artifact.artifact if record.HasField("request") else record.artifact
        for record in read_run(path)
        if record.HasField("artifact") or record.request.HasField("log_artifact")
    ]
    return [
        (
            list(artifact.aliases),
            {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents},
        )
        for artifact in artifacts
    ]


def alerts_of(path: Path) -> list[tuple[str, str, str]]:
    """Return the title, text and level of each alert."""
    alerts = [record.alert for record in read_run(path) if record.HasField("alert")]
    return [(alert.title, alert.text, alert.level) for alert in alerts]


def leveldb_records(log: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log: blocks of 32 KiB, in them (crc, length, type, data).

    wandb counts the blocks from the file's start, seven bytes of its own header before `log`.
    """
    block, position, parts = 32 * 1024, 0, []
    while position + 7 <= len(log):
        left = block - (position + 7) % block
        if left < 7:  # too little for a header: padding
            position += left
            continue
        length, kind = struct.unpack_from("<HB", log, position + 4)
        parts.append(log[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield b"".join(parts)
            parts = []
