"""Runs that are made to fail raise the alarm of their fault, in the log, the report and at the end.

Which records raise one: tests/training/health/test_alarms.py. A healthy run: test_init_from.py.
"""

import json
from pathlib import Path

import pytest

from t2vgan.report import write_report
from tests.faults.same_run import records
from tests.support.commands import SAMPLED, faulty, train
from tests.support.warm import run_warm_ok


def alarms(run_dir: Path) -> list[str]:
    """Return the alarms that were raised."""
    return [e["alarm"] for e in records(run_dir, "event") if "alarm" in e and "over" not in e]


@pytest.mark.parametrize(
    ("fault", "alarm", "finding", "remedy"),
    [
        ("ignored prompts", "prompts_ignored", "prompts make no", "--train.mismatched-weight"),
        ("ignored latents", "seeds_ignored", "seeds make no", "--train.recovery-weight"),
    ],
)
def test_a_generator_that_ignores_its_input(fault, alarm, finding, remedy, circles, tmp_path):
    run_dir = tmp_path / "run"
    result = run_warm_ok(*faulty(fault, circles, run_dir, *SAMPLED))
    assert alarm in alarms(run_dir)
    *_, ending = result.stderr.partition("\ncomplete, with ")
    assert finding in ending
    assert remedy in ending
    variety = records(run_dir, "variety")
    assert [record["step"] for record in variety] == [3, 6, 9, 12]
    name = alarm.removesuffix("_ignored")
    assert variety[-1][name] == pytest.approx(0, abs=1e-3)
    assert variety[-1]["real"][name] > 1
    page = write_report(run_dir).read_text()
    assert "alarm since step " in page
    assert finding in page
    assert remedy in page


def test_a_discriminator_that_a_large_penalty_blinds(circles, tmp_path):
    run_dir = tmp_path / "run"
    options = (
        "--train.gamma-start", 1e6, "--train.gamma-end", 1e6, "--train.penalty-every-steps", 1,
        "--train.num-steps", 40, "--log-every-steps", 1, "--train.mismatched-weight", 0,
        "--model.no-moments",  # which are enlarged so much that it is not blind, but wrong
    )  # fmt: skip
    result = run_warm_ok(*train(circles, run_dir, *options))
    assert "blind_discriminator" in alarms(run_dir)
    assert "alarm: the discriminator is blind" in result.stderr
    assert "complete, with " in result.stderr
    state = json.loads((run_dir / "checkpoints/step_00000040/state.json").read_text())
    assert sum(state["alarms"]["blind_discriminator"]) >= 7, "a resumed run goes on counting"


def test_latents_that_are_not_recovered(circles, tmp_path):
    run_dir = tmp_path / "run"
    options = (
        "--train.discriminator-lr", 1e-9, "--train.num-steps", 40, "--model.latent-size", 64,
        "--train.recovered-latents", 64,  # many: their own squares vary little from 1
        "--train.mode-seeking-weight", 0,
    )  # fmt: skip
    result = run_warm_ok(*train(circles, run_dir, *options))
    assert "latents_not_recovered" in alarms(run_dir)
    assert "alarm: latents are not recovered" in result.stderr
