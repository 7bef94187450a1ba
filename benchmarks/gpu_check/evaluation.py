"""Evaluate a run's weights; add the evaluation to the run's record."""

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import benchmark
from benchmarks.record import find_record, write_record
from benchmarks.shapes import evaluate
from t2vgan.utils.records import get_number

SHOWN = {
    "generated.accuracy": "accuracy",
    "generated.accuracy_held_out": "held out",
    "generated.one_object": "one object",
    "clip_numbers.agreement.accuracy": "agreement",
}


def run(
    name: str, weights: Path, data: Path, num_clips: int = 2000, probe_steps: int = 1250
) -> None:
    """Score weights; print and record.

    Args:
        name: Name of the training record, to which the evaluation is added.
        weights: Run folder.
        data: Folder of shards.
        num_clips: Clips generated for the evaluation.
        probe_steps: Maximum training steps of the probe.
    """
    path = find_record(name)
    before: dict[str, Any] = json.loads(path.read_text()) if path else {}
    found = evaluate(weights, data, num_clips, "--probe-steps", probe_steps)
    numbers = {text: get_number(found, key) for key, text in SHOWN.items()}
    headline = ", ".join(
        f"{text} {value:.1%}" for text, value in numbers.items() if value is not None
    )
    content = before | {"headline": headline, "evaluation": found}
    device = "cpu" if found["protocol"]["device"] == "cpu" else "cuda"
    print(f"wrote {write_record(name, content, device=device)}")


if __name__ == "__main__":
    benchmark(run)
