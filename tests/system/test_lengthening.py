"""A finished run that is given more steps."""

import shutil
from pathlib import Path

import pytest

from tests.faults.same_run import outcome, records
from tests.support.commands import faulty, train
from tests.support.warm import run_warm, run_warm_ok

LONGER = ("--train.num-steps", 24)


@pytest.fixture
def copy_of_finished(finished_run, tmp_path):
    return lambda name: Path(shutil.copytree(finished_run, tmp_path / name))


def rates(run_dir: Path) -> list[float]:
    return [record["lr/generator"] for record in records(run_dir, "train")]


def test_by_default_the_rates_stay_at_the_values_of_the_end(copy_of_finished, circles):
    run_dir = copy_of_finished("run")
    result = run_warm_ok(*train(circles, run_dir, *LONGER))
    assert "schedule: keeps its length of 12 steps" in result.stderr
    final = 2e-3 * 0.05
    assert rates(run_dir)[6:] == [pytest.approx(final)] * 6
    assert "schedule" in run_warm_ok(
        *train(circles, run_dir, "--train.num-steps", 26)
    ).stderr  # fmt: skip
    assert rates(run_dir)[12:] == [pytest.approx(final)]


def test_a_kill_after_the_lengthening_changes_no_bit(copy_of_finished, circles):
    expected, killed = copy_of_finished("expected"), copy_of_finished("killed")
    options = (*LONGER, "--train.lengthening", "stretch")
    result = run_warm_ok(*train(circles, expected, *options))
    assert "schedule: follows 24 steps after a warm-up" in result.stderr
    assert max(rates(expected)[6:]) > 10 * 2e-3 * 0.05, "the rates rise again"
    assert rates(expected)[-1] < 2e-3 * 0.1
    for place in ("discriminator loss:2", "discriminator loss:6"):  # before a save, and after one
        assert run_warm(*faulty(f"kill@{place}", circles, killed, *options)).returncode == -9
    result = run_warm_ok(*train(circles, killed, *options))
    assert "schedule" not in result.stderr, "it goes on as it was"
    assert outcome(killed) == outcome(expected)
