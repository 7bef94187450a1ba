"""Log curves, videos, tables and weights to Weights & Biases.

Without a key or a server, the run is recorded in run_dir/wandb, and `wandb sync` uploads it later.
A resumed run continues the same wandb run, whose id is in run_dir/wandb_id.
"""

import logging
import os
import secrets
from pathlib import Path
from typing import Any

import wandb

from t2vgan.tracking.metrics_log import Record
from t2vgan.tracking.scalars import PROMPT_COLUMNS, evaluation_tables, scalars
from t2vgan.tracking.wandb_key import has_wandb_key
from t2vgan.utils.console import format_error
from t2vgan.utils.files import replace_file

ID_NAME = "wandb_id"
DEFAULTS = {
    "WANDB_INIT_TIMEOUT": "30",
    "WANDB_FINISH_TIMEOUT": "50",  # shorter than CLOSE_TIMEOUT_SECONDS; the rest stays on disk
}

logger = logging.getLogger(__name__)


class WandbTracker:
    """Logs a run's records to wandb; for the main rank only."""

    def __init__(self, run_dir: Path, config: dict[str, Any]) -> None:
        self.run_dir = run_dir
        self.latest_weights: Record | None = None
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        # Weights are staged beside the records, not in a home folder that another node may lack.
        os.environ.setdefault("WANDB_DATA_DIR", str(run_dir.resolve() / "wandb"))
        self.run = start_run(run_dir, config)
        self.run.define_metric("clips_seen", hidden=True)
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        self.run.define_metric("evaluation/*", step_metric="clips_seen")

    def log(self, record: Record) -> None:
        if record["kind"] == "weights":
            self.log_weights(record)
            return
        if record.get("alarm") and record.get("warning"):
            title, name = record["alarm"].replace("_", " "), self.run_dir.resolve().name
            text = f"{name}, step {record['step']}: {record['message']}"
            self.run.alert(title, text, level="WARN")
        row: dict[str, Any] = scalars(record)
        if record["kind"] == "samples":
            # Use the existing animation: encoding one per prompt would take a third of a second.
            animation = self.run_dir / record["animation"]
            row["samples"] = wandb.Video(str(animation), caption="; ".join(record["prompts"]))
        for panel, rows in evaluation_tables(record).items():
            row[panel] = wandb.Table([*PROMPT_COLUMNS], data=rows)
        if row:
            # wandb's own step is not used, because it cannot decrease, as a run's step does on
            # resuming from a checkpoint before its last record.
            self.run.log(row | {"step": record["step"], "clips_seen": record["clips_seen"]})

    def log_weights(self, record: Record) -> None:
        """Upload the best weights immediately, the latest when the run ends."""
        if record["is_best"]:
            self.upload_weights(self.run_dir / "weights_best.safetensors", record, "best")
        self.latest_weights = record

    def upload_weights(self, path: Path, record: Record, *aliases: str) -> None:
        metadata = {name: record[name] for name in ("step", "clips_seen")}
        artifact = wandb.Artifact(f"weights-{self.run.id}", "model", metadata=metadata)
        artifact.add_file(str(path))
        self.run.log_artifact(artifact, aliases=[*aliases, f"step-{record['step']}"])

    def close(self) -> None:
        if self.latest_weights:
            path = self.run_dir / "weights.safetensors"
            self.upload_weights(path, self.latest_weights, "latest")
        self.run.finish()


def start_run(run_dir: Path, config: dict[str, Any]) -> wandb.Run:
    """Start or resume a run_dir's wandb run, online if possible, else offline."""
    options: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT", "t2vgan"),
        "name": run_dir.resolve().name,
        "id": read_run_id(run_dir),
        "resume": "allow",
        "config": config,
        "dir": os.environ.get("WANDB_DIR", run_dir),
        # Otherwise every print would wait for wandb's process, which captures the console.
        "settings": wandb.Settings(console="off"),
    }
    if os.environ.get("WANDB_MODE", "online") != "online":
        return wandb.init(**options)
    reason = "no key: set WANDB_API_KEY or run `wandb login`"
    if has_wandb_key():
        try:
            return wandb.init(**options)
        except wandb.Error as error:
            reason = format_error(error)
            wandb.teardown()  # otherwise its process keeps the id of the failed run
    folder = Path(options["dir"]) / "wandb"
    message = (
        "wandb is not reachable (%s); recording in %s: upload by `wandb sync %s/offline-run-*`"
    )
    logger.warning(message, reason, folder, folder)
    return wandb.init(mode="offline", **options)


def read_run_id(run_dir: Path) -> str:
    """Read the id of a run_dir's wandb run, or create it."""
    path = run_dir / ID_NAME
    if not path.exists():
        replace_file(path, secrets.token_hex(4))
    return path.read_text().strip()
