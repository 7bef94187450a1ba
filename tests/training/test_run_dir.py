"""What a run's folder says of how the run was made."""

import json
import sys

import pytest

from t2vgan.config import Config, TrainConfig
from t2vgan.errors import UserError
from t2vgan.training.run_dir import (
    check_same_run,
    keep_units,
    load_config,
    read_units,
    write_run_files,
)
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


def write_earlier(config: Config, **train: object) -> None:
    """Write a config.json as versions did that did not standardise videos."""
    content = config.model_dump(mode="json")
    del content["train"]["standardize"]
    content["train"] |= train
    (config.run_dir / "config.json").write_text(json.dumps(content))


def test_a_run_of_an_earlier_version_keeps_its_gamma_and_goes_on_without_statistics(tmp_path):
    config = Config(run_dir=tmp_path)
    assert read_units(tmp_path) == {}
    write_earlier(config, gamma_start=10.0, gamma_end=2.0)
    for _ in range(2):  # the second time as the first one rewrote it
        kept = keep_units(config, read_units(tmp_path))
        train = kept.train
        assert (train.standardize, train.gamma_start, train.gamma_end) == (False, 10.0, 2.0)
        assert check_same_run(kept) == []
        write_run_files(kept, {})
    other = kept.model_copy(update={"train": kept.train.model_copy(update={"seed": 1})})
    with pytest.raises(UserError, match=r"other options \(train.seed: 0 -> 1\)"):
        check_same_run(other)


def test_a_run_of_this_version_is_not_converted(tmp_path):
    config = Config(run_dir=tmp_path, train=TrainConfig(gamma_start=7.0))
    write_run_files(config, {})
    assert read_units(tmp_path) == {}
    assert load_config(tmp_path / "config.json") == config


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"train": 3}'])
def test_a_damaged_config_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json is damaged .*; start a new --run-dir"):
        read_units(tmp_path)
