"""What a run's folder says of how the run was made."""

import sys

import pytest

from t2vgan.utils.environment import LAUNCHERS, describe_environment


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ((), "python -u train.py quickstart --run-dir 'my run'"),
        (["TORCHELASTIC_RUN_ID"], "torchrun train.py quickstart --run-dir 'my run'"),
        (list(LAUNCHERS), "accelerate launch train.py quickstart --run-dir 'my run'"),
    ],
)
def test_the_command_is_the_one_that_was_run(variables, expected, monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    for name in variables:
        monkeypatch.setenv(name, "1")
    arguments = ["train.py", "quickstart", "--run-dir", "my run"]
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", *arguments])
    environment = describe_environment(device="cpu", world_size=1, precision="float32")
    assert environment["command"] == expected
