"""What a run's folder says of how the run was made."""

import json
import sys

import pytest

from t2vgan.config import Config, DataConfig, TrainConfig
from t2vgan.config.presets import PRESETS
from t2vgan.errors import UserError
from t2vgan.tokenizer import VERSION
from t2vgan.training.run_dir import (
    check_same_run,
    load_config,
    read_tokenizer,
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


@pytest.mark.parametrize("name", ["quickstart", "shapes", "shapes-cpu"])
def test_runs_of_versions_that_did_not_standardise_go_on(name, tmp_path):
    config = PRESETS[name].model_copy(update={"run_dir": tmp_path})
    content = config.model_dump(mode="json")
    del content["train"]["standardize"], content["train"]["augment"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert check_same_run(config) == []
    other = config.model_copy(
        update={"train": config.train.model_copy(update={"standardize": True, "gamma_end": 4.0})}
    )
    with pytest.raises(UserError, match=r"gamma_end: .* train.standardize: False -> True"):
        check_same_run(other)


def test_what_makes_steps_faster_may_change(tmp_path):
    write_run_files(Config(run_dir=tmp_path, cuda_graphs="on"), {})
    changed = check_same_run(Config(run_dir=tmp_path, cuda_graphs="auto", compile="on"))
    assert changed == ["compile: auto -> on", "cuda_graphs: on -> auto"]


def test_a_config_is_read_as_it_was_written(tmp_path):
    config = Config(run_dir=tmp_path, train=TrainConfig(gamma_start=7.0))
    write_run_files(config, {})
    assert load_config(tmp_path / "config.json") == config


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"train": 3}'])
def test_a_damaged_config_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json is damaged .*; start a new --run-dir"):
        load_config(tmp_path / "config.json")


def test_passwords_in_addresses_are_not_written(tmp_path):
    data = DataConfig(path="https://u:pw@h/a?s=pw", mix=("https://u:pw@h/b?s=pw=2", "c=1"))
    config = Config(run_dir=tmp_path, data=data)
    write_run_files(config, {})
    assert "pw" not in (tmp_path / "config.json").read_text()
    assert load_config(tmp_path / "config.json").data.mix == ("https://***@h/b?s=***=2", "c=1")
    assert check_same_run(config) == []


def test_runs_of_earlier_versions_keep_their_tokenizer(tmp_path):
    assert read_tokenizer(tmp_path) == VERSION, "a new run"
    (tmp_path / "run.json").write_text("{}")
    assert read_tokenizer(tmp_path) == 1
    (tmp_path / "run.json").write_text('{"tokenizer": 2}')
    assert read_tokenizer(tmp_path) == 2
    (tmp_path / "run.json").write_text('{"tokenizer": 9}')
    with pytest.raises(UserError, match="tokenizer=9: must be less than or equal to 2"):
        read_tokenizer(tmp_path)
