"""A run whose networks are compiled: killed and resumed, and without a compiler."""

import json
import signal
from pathlib import Path

from t2vgan.gan.compilation import CACHE_VARIABLE
from tests.faults.same_run import outcome, records
from tests.support.commands import python, python_ok, train

COMPILED = ("--compile", "on")


def notebook(data: Path, run_dir: Path, *options: object) -> tuple[object, ...]:
    """Return a short run of the networks that are compiled soonest."""
    return (
        "notebook", "--data.path", data, "--run-dir", run_dir, "--train.num-steps", 12,
        "--data.num-streams", 4, "--train.global-batch-size", 8, "--train.penalty-every-steps", 2,
        "--log-every-steps", 2, "--sample-every-steps", 0, "--evaluate-every-steps", 0,
        "--save-every-steps", 4, "--num-cpu-threads", 1, *options,
    )  # fmt: skip


def test_a_compiled_run_killed_and_resumed_ends_with_the_same_bits(tmp_path):
    """The first life compiles, the others read what it compiled; the last is told nothing."""
    python_ok(
        "-m", "data_tools.build_shards", "circles", "--out", tmp_path / "data",
        "--num-clips", 120, "--clips-per-shard", 20, "--num-frames", 4,
    )  # fmt: skip
    cache = {CACHE_VARIABLE: str(tmp_path / "cache")}
    whole, killed = (notebook(tmp_path / "data", tmp_path / name) for name in ("whole", "killed"))
    python_ok("train.py", *whole, *COMPILED, **cache)
    fault = ("tests/faults/faulty_train.py", "kill@update:11", "--")
    result = python(*fault, *killed, *COMPILED, **cache)
    assert result.returncode == -signal.SIGKILL, result.stderr
    python_ok("train.py", *killed, **cache)  # auto: as it was
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["compiled"] is True
    messages = [event["message"] for event in records(tmp_path / "killed", "event")]
    assert "changed: compile: on -> auto" in messages
    assert not [message for message in messages if "last digits" in message]


def test_without_a_compiler_a_run_says_so_in_one_line(circles, tmp_path):
    variables = {"CXX": "no-such-compiler"}
    refused = python(*train(circles, tmp_path / "on", *COMPILED), **variables)
    assert refused.returncode == 2
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert "compile=on: the C++ compiler no-such-compiler is not installed" in line
    assert "--compile off" in line
