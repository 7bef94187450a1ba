"""The wheel, installed elsewhere: what it holds, and its commands."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
from PIL import Image

from t2vgan.__main__ import COMMANDS
from tests.support.commands import ROOT, environment

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
SHIPPED = ("actions", "circles", "shapes", "shapes-two")
DATA_FILES = {
    "py.typed",
    "prompts/synonyms.txt",
    "prompts/word_vectors.safetensors",
    *(f"pretrained/{name}.safetensors" for name in SHIPPED),
    *(f"data_tools/scenes/{name}.txt" for name in ("circles", "shapes")),
}


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it, and a folder far from the checkout."""

    wheel: Path
    packages: Path
    bin: Path
    folder: Path

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / program), *map(str, arguments)],
            cwd=self.folder,
            env=environment(PYTHONPATH=""),
            capture_output=True,
            text=True,
        )

    def run_ok(self, program: str, *arguments: object) -> str:
        result = self.run(program, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Return a copy of what the wheel is built from: a build leaves files beside it."""
    copy = tmp_path_factory.mktemp("sources")
    files = ("pyproject.toml", "README.md", "LICENSE", "train.py", "generate.py", "evaluate.py")
    for name in files:
        shutil.copy(ROOT / name, copy)
    for name in ("t2vgan", "data_tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def create_environment(folder: Path, *install: object) -> tuple[Path, Path]:
    """Create an environment that also sees the dependencies here, but not the checkout.

    Return its site-packages and its folder of programs. A .pth file in a folder that another .pth
    file names is not read, so the editable installation here stays out.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    options = ("--no-deps", "--no-build-isolation")
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = packages / "dependencies.pth"
    dependencies.write_text(str(Path(numpy.__file__).parents[1]))
    command = [*PIP, "--python", python, "install", "--ignore-installed", *options, *install]
    subprocess.run(list(map(str, command)), check=True, env=environment(PYTHONPATH=""))
    return packages, python.parent


@pytest.fixture(scope="module")
def installed(sources, tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    subprocess.run([*PIP, "wheel", *options, str(sources)], check=True)
    (wheel,) = folder.glob("*.whl")
    packages, programs = create_environment(folder / "venv", wheel)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installed(wheel, packages, programs, elsewhere)


def test_the_wheel_holds_every_module_and_all_data(installed):
    archive = zipfile.ZipFile(installed.wheel)
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert all(name.startswith("t2vgan/") for name in names)
    names = {name.removeprefix("t2vgan/") for name in names}
    modules = {str(path.relative_to(ROOT / "t2vgan")) for path in ROOT.glob("t2vgan/**/*.py")}
    modules |= {str(path.relative_to(ROOT)) for path in ROOT.glob("data_tools/**/*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    templates = {f"report/templates/{path.name}" for path in ROOT.glob("t2vgan/report/templates/*")}
    assert names - modules == DATA_FILES | templates


def test_nothing_else_is_installed(installed):
    names = {path.name for path in installed.packages.iterdir()} - {"__pycache__"}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        "dependencies.pth",
        "t2vgan",
    }
    for name in ("train", "generate", "evaluate", "data_tools"):
        assert "ModuleNotFoundError" in installed.run("python", "-c", f"import {name}").stderr
    found = installed.run_ok("python", "-c", "import t2vgan.data_tools as d; print(d.__file__)")
    assert Path(found.strip()).is_relative_to(installed.packages)


def test_videos_from_the_shipped_weights(installed):
    out = installed.folder / "videos"
    installed.run_ok("t2vgan", "generate", "--prompt", "circle moving left", "--out", out)
    with Image.open(out / "circle-moving-left-0.gif") as video:
        assert video.n_frames > 1


def test_shards_are_built_inspected_and_verified(installed):
    small = ("--num-clips", 12, "--clips-per-shard", 6, "--num-frames", 4, "--size", "16x16")
    installed.run_ok("t2vgan", "build", "circles", "--out", "data", *small, "--workers", 2)
    assert "12 clips in 2 shards" in installed.run_ok("t2vgan", "inspect", "data")
    assert "all sound" in installed.run_ok("python", "-m", "t2vgan", "verify", "data")


def test_help_lists_the_commands(installed):
    listed = installed.run_ok("python", "-m", "t2vgan", "--help")
    assert listed.startswith("usage: python -m t2vgan COMMAND")
    assert all(f"  {name} " in listed for name in COMMANDS)
    assert installed.run_ok("t2vgan").startswith("usage: t2vgan COMMAND")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_without_torch(command, installed):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        f"sys.argv = ['t2vgan', {command!r}, '--help']\n"
        "from t2vgan.__main__ import main\n"
        "main()\n"
    )
    *lines, torch_is_imported = installed.run_ok("python", "-c", code).splitlines()
    assert lines[0].startswith(f"usage: t2vgan {command} ")
    assert torch_is_imported == "False"


def test_a_mistyped_command_is_one_line(installed):
    result = installed.run("t2vgan", "demos")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: no command named 'demos'; nearest: demo")
    result = installed.run("t2vgan", "pack", "--nonsense")
    assert result.stderr.endswith("(t2vgan pack --help lists all)\n")


def test_accelerate_starts_the_command(installed):
    """`accelerate launch -m t2vgan train`; the launcher is the one here, its Python is not."""
    result = installed.run(
        "python", "-m", "accelerate.commands.launch", "--cpu", "--num_processes", 1,
        "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no",
        "-m", "t2vgan", "train", "quikstart",
    )  # fmt: skip
    assert "error: no preset named 'quikstart'; nearest: quickstart" in result.stderr


def test_an_editable_installation_has_the_data_tools_too(sources, tmp_path):
    _, programs = create_environment(tmp_path / "venv", "--editable", sources)
    code = "import t2vgan.data_tools.build.runner as m; print(m.__file__)"
    variables = os.environ | {"PYTHONPATH": ""}

    def output(*command: object, cwd: Path) -> str:
        options = {"cwd": cwd, "env": variables, "capture_output": True, "text": True}
        return subprocess.run(list(map(str, command)), check=True, **options).stdout

    assert output(programs / "python", "-c", code, cwd=tmp_path).startswith(str(sources))
    for command in (("t2vgan", "verify"), ("python", "-m", "data_tools.verify_shards")):
        program, *arguments = command
        usage = output(programs / program, *arguments, "--help", cwd=sources)
        assert usage.startswith(f"usage: {' '.join(command)} ")
