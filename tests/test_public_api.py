"""The names that `import t2vgan` gives, and their documented examples."""

import doctest
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import t2vgan
from t2vgan.__main__ import run_command
from t2vgan.config.presets import PRESETS
from t2vgan.errors import UserError
from t2vgan.training.train import build_config
from tests.support.commands import ROOT


def test_only_public_names_are_listed_and_each_is_documented():
    assert dir(t2vgan) == sorted(["TextToVideo", "Videos", "__version__", "evaluate", "train"])
    for name in t2vgan.MODULES:
        value = getattr(t2vgan, name)
        assert value is getattr(import_module(value.__module__), name)
        assert inspect.getdoc(value)
        assert "->" in str(inspect.signature(value)) or inspect.isclass(value)
    with pytest.raises(AttributeError, match="no attribute 'Texttovideo'"):
        t2vgan.Texttovideo  # noqa: B018


def test_importing_the_package_loads_no_library():
    code = "import sys, t2vgan; print(*{'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == ""


def test_the_command_names_its_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["t2vgan", "--version"])
    assert run_command() == 0
    assert capsys.readouterr().out == f"t2vgan {t2vgan.__version__}\n"


@pytest.mark.parametrize("name", t2vgan.MODULES)
def test_documented_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for example in doctest.DocTestFinder(recurse=False).find(getattr(t2vgan, name), name):
        assert doctest.DocTestRunner().run(example).failed == 0


def test_a_preset_with_changes_is_validated():
    config = build_config("quickstart", {"run_dir": "runs/x", "train": {"seed": 5}})
    expected = PRESETS["quickstart"].model_dump()
    expected["train"]["seed"] = 5
    assert config.model_dump() == expected | {"run_dir": config.run_dir}
    assert str(config.run_dir) == "runs/x"
    assert build_config(config, {}) == config


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ("quickstrat", {}, "config='quickstrat': no such preset; known: quickstart"),
        (None, {}, "config=None: must be the name of a preset, or a Config"),
        ("quickstart", {"train": {"num_steps": -1}}, "train.num_steps"),
        ("quickstart", {"train": {"nmu_steps": 1}}, "train.nmu_steps"),
        ("quickstart", {"model": {"kind": "diffusion"}}, "model"),
    ],
)
def test_bad_settings_are_one_line(config, changes, message):
    with pytest.raises(UserError, match=message) as error:
        t2vgan.train(config, **changes)
    assert "\n" not in str(error.value)
