"""Fixtures: folders of runs, and an evaluation without a run."""

import json
from pathlib import Path

import pytest

from tests.support.run_folders import (
    HELD_OUT,
    add_samples,
    evaluation_record,
    make_evaluation,
    make_run,
    train_record,
    write_metrics,
)


@pytest.fixture
def run_dir(tmp_path) -> Path:
    return make_run(tmp_path / "tiny <run>")


@pytest.fixture
def two_runs(run_dir) -> list[Path]:
    """Two runs of one name; the second is shorter, with another seed."""
    other = make_run(run_dir.parent / "other" / run_dir.name)
    write_metrics(
        other,
        [
            *(train_record(step) for step in range(0, 601, 150)),
            add_samples(other, 600, prompts=(HELD_OUT, "<new> prompt")),
            evaluation_record(600, 0.2, 0.6),
        ],
    )
    config = {"train": {"seed": 4, "betas": [0.0, 0.99]}}
    (other / "config.json").write_text(json.dumps(config))
    return [run_dir, other]


@pytest.fixture
def theirs(tmp_path) -> Path:
    return make_evaluation(tmp_path / "theirs.json")
