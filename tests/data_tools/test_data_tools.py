"""Wrong arguments are one line, and no tool imports torch."""

import re
import subprocess
import sys

import pytest

from tests.support.data_commands import ROOT, run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["circle"],
            "unknown scene 'circle', known: circles, notebook, shapes, shapes-textured,"
            " shapes-two, actions, actions-held-out; did you mean 'circles'?",
        ),
        (["zebra"], "unknown scene 'zebra', known: circles, notebook"),
        (["circles", "--num-clips", "0"], "--num-clips 0: must be at least 1"),
        (["circles", "--num-clips", "1000000000000"], "must be at most 100,000,000"),
        (["circles", "--clips-per-shard", "0"], "--clips-per-shard 0"),
        (["circles", "--num-frames", "0"], "--num-frames 0: must be at least 1"),
        (["circles", "--workers", "0"], "--workers 0"),
        (["circles", "--size", "64"], "--size 64: must be HEIGHTxWIDTH"),
        (["circles", "--size", "0x64"], "--size 0x64"),
        (["circles", "--size", "-64x64"], "--size -64x64"),
        (["circles", "--size", "64x"], "--size 64x"),
        (["circles", "--size", "1024x64", "--num-frames", "20"], "20 * 1024 = 20480 rows"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, arguments, message):
    result = run("build_shards", *arguments, "--out", tmp_path / "data")
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("tool", ["inspect_shards", "verify_shards"])
def test_missing_data_is_one_line(tmp_path, tool):
    for folder in (tmp_path, tmp_path / "nowhere"):
        result = run(tool, folder)
        assert result.returncode == 2
        assert "t2vgan build" in result.stderr
        assert len(result.stderr.splitlines()) == 1


TOOLS = sorted(path.stem for path in ROOT.glob("data_tools/*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("tool", TOOLS)
def test_a_mistyped_option_is_one_line(tool):
    result = run(tool, "--nonsense", "3")
    assert result.returncode == 2
    assert re.fullmatch(
        r"error: .* \(python -m data_tools\.\w+ --help lists all\)\n", result.stderr
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_help_is_quick_to_import_and_no_tool_imports_torch(tool):
    heavy = {"torch", "cv2", "numpy", "PIL", "av", "pydantic"}
    code = f"""
import runpy, sys
sys.argv = ["{tool}", "--help"]
try:
    runpy.run_module("data_tools.{tool}", run_name="__main__")
except SystemExit as leaving:
    assert leaving.code == 0
print(sorted({heavy!r} & sys.modules.keys()))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "usage:" in result.stdout
    assert len(TOOLS) >= 9


def test_building_and_checking_never_import_torch(tmp_path):
    code = f"""
import sys
from pathlib import Path
from data_tools import build_shards, inspect_shards, verify_shards
folder = Path({str(tmp_path / "data")!r})
options = build_shards.BuildOptions("circles", folder, num_clips=20, workers=1)
build_shards.build(build_shards.make_plan(options), folder, num_workers=1)
inspect_shards.inspect_shards(folder)
assert verify_shards.verify_shards(folder) == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
