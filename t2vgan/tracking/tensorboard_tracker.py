"""Write curves, animations and tables to run_dir/tensorboard for TensorBoard."""

import json
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from t2vgan.tracking.metrics_log import Record
from t2vgan.tracking.scalars import PROMPT_COLUMNS, evaluation_tables, scalars

FOLDER_NAME = "tensorboard"


class TensorBoardTracker:
    """Writes records as TensorBoard events; hides those after `step`."""

    def __init__(self, run_dir: Path, config: dict[str, Any], step: int) -> None:
        self.run_dir = run_dir
        self.writer = SummaryWriter(run_dir / FOLDER_NAME, purge_step=step + 1 if step else 0)
        self.writer.add_text("config", f"```\n{json.dumps(config, indent=2)}\n```", step)

    def log(self, record: Record) -> None:
        if record["kind"] == "weights":
            return
        step, time = record["step"], record["wall_time"]
        for name, value in scalars(record).items():
            self.writer.add_scalar(name, value, step, time)
        if record["kind"] == "train":
            self.writer.add_scalar("clips_seen", record["clips_seen"], step, time)
        if record["kind"] == "samples":
            self.add_animation(self.run_dir / record["animation"], step, time)
        for panel, rows in evaluation_tables(record).items():
            self.writer.add_text(panel, markdown_table(rows), step, time)
        if record.get("alarm"):
            self.writer.add_text("alarms", record["message"], step, time)
        self.writer.flush()

    def add_animation(self, path: Path, step: int, time: float) -> None:
        """Add a GIF file without re-encoding.

        `add_video` would need moviepy, and encode another GIF.
        """
        from PIL import Image

        with Image.open(path) as picture:
            width, height = picture.size
        animation = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes()
        )
        summary = Summary(value=[Summary.Value(tag="samples", image=animation)])
        self.writer.file_writer.add_summary(summary, step, time)  # type: ignore[attr-defined]

    def close(self) -> None:
        self.writer.close()


def markdown_table(rows: list[list[Any]]) -> str:
    """Format rows of `PROMPT_COLUMNS` as a Markdown table."""
    lines = [PROMPT_COLUMNS, ["---"] * len(PROMPT_COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
