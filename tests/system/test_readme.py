"""The commands of README, in its order and in one folder, as a reader types them.

Each runs as it is printed; `SMALLER` only adds what makes it small.
"""

import re
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.commands import BIN, ROOT, run

README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_RUN = {
    "pip install .": "test_packaging.py builds the wheel and installs it, without a network",
}
"""Command -> why it is not run here."""
EXCERPTS = {"parts = ": "t2vgan/gan/adversarial.py"}
"""Beginning of Python that is shown, not meant to run -> the file it is from."""

FEW_STEPS = (
    "--train.num-steps 2 --sample-every-steps 0 --evaluate-every-steps 0 --model.channels 4"
    " --model.hidden-size 16"
)
SMALLER = {
    "t2vgan build circles": "--num-clips 48 --clips-per-shard 6",
    "t2vgan train quickstart": FEW_STEPS,
    "t2vgan pack my_videos": "--num-frames 4",
    "t2vgan train video-small": f"{FEW_STEPS} --train.global-batch-size 8",
    "t2vgan evaluate": "--num-clips 32 --probe-steps 5",
}
"""Beginning of a command -> options added to it."""
PLACEHOLDERS = {'"..."': '"a fractal zooming in"'}


def fenced(language: str) -> list[str]:
    return [text for found, text in FENCE.findall(README) if found == language]


def commands() -> list[str]:
    """The lines of all fenced commands, without their comments."""
    lines = (line for text in fenced("") for line in text.splitlines())
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A folder with the scripts and packages of a checkout, and videos of the reader's own."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("train.py", "generate.py", "evaluate.py", "t2vgan", "data_tools", "launch"):
        (folder / name).symlink_to(ROOT / name)
    result = run(
        BIN / "t2vgan", "demo-videos", "--out", "my_videos", "--num-videos", 30, cwd=folder
    )
    assert result.returncode == 0, result.stderr
    for name in ("cut-off.mp4", "no-caption.mp4", "no-video.mp4"):
        (folder / "my_videos" / name).unlink()
    return folder


def make_small(command: str) -> list[str]:
    for shown, typed in PLACEHOLDERS.items():
        command = command.replace(shown, typed)
    added = [options for start, options in SMALLER.items() if command.startswith(f"{start} ")]
    return shlex.split(" ".join([command, *added]))


def test_every_command_runs(checkout):
    failed = {}
    for command in commands():
        if command in NOT_RUN:
            continue
        program, *arguments = make_small(command)
        result = run(BIN / program, *arguments, cwd=checkout)
        if result.returncode:
            failed[command] = result.stdout + result.stderr
    assert not failed
    assert (checkout / "runs/quickstart/report.html").exists()
    assert len(list((checkout / "videos").glob("*.mp4"))) == 4


def test_every_exception_is_in_the_readme():
    assert set(NOT_RUN) <= set(commands())
    for start in SMALLER:
        assert any(command.startswith(f"{start} ") for command in commands()), start


def test_excerpts_are_what_the_file_says():
    for start, path in EXCERPTS.items():
        (excerpt,) = [text for text in fenced("python") if text.startswith(start)]
        assert textwrap.indent(excerpt, " " * 8) in (ROOT / path).read_text()


def test_the_python_runs(checkout):
    programs = [text for text in fenced("python") if not text.startswith(tuple(EXCERPTS))]
    assert programs
    for text in programs:
        result = run(sys.executable, "-c", text, cwd=checkout)
        assert result.returncode == 0, result.stderr
    assert len(list(checkout.glob("circle-*.mp4"))) == 4
