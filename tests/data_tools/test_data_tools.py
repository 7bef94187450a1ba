"""The data commands, run as a user runs them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from data_tools.build.journal import JOURNAL_NAME, Journal
from data_tools.build.protocol import BuildStopped, BuiltShard, Task
from data_tools.build.scene_build import BuildPlan
from data_tools.build.worker_pool import run_jobs
from data_tools.build_shards import build
from data_tools.inspect_shards import select_clips, share_out
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    decode_sample,
    load_manifest,
    parse_captions,
    read_samples,
    write_manifest,
    write_shard,
)
from t2vgan.errors import UserError
from t2vgan.utils.files import NotPlainFileError
from tests.support.warm import run_warm

ROOT = Path(__file__).parents[2]
SMALL = ["--num-clips", "50", "--clips-per-shard", "20", "--num-frames", "4", "--size", "24x32"]
PLAN = BuildPlan("circles", 50, 20, Geometry(num_frames=4, height=24, width=32), seed=0)
LARGE_PLAN = BuildPlan("circles", 1500, 100, Geometry(num_frames=10, height=64, width=64), seed=0)
LARGE = ["--num-clips", "1500", "--clips-per-shard", "100"]  # seconds: a busy machine must catch it


def command(tool: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"data_tools.{tool}", *map(str, arguments)]


def run(tool: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `command` returns one to be killed."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    return run_warm("-m", f"data_tools.{tool}", *arguments, cwd=cwd, variables=variables)


def files_in(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def data(tmp_path) -> Path:
    """A small finished data set."""
    build(PLAN, tmp_path / "data", num_workers=1)
    return tmp_path / "data"


# ---- building ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["circles", "notebook"])
def test_the_same_bytes_for_any_number_of_workers(tmp_path, scene):
    folders = []
    for workers in (1, 3):
        folders.append(tmp_path / f"{workers}")
        result = run("build_shards", scene, "--out", folders[-1], "--workers", workers, *SMALL)
        assert result.returncode == 0, result.stderr
    one, three = map(files_in, folders)
    assert one == three
    shards = {f"{scene}-{i:05d}.tar" for i in range(3)}
    assert one.keys() == shards | {"manifest.json"}, "no journal and no temporary file stays"


def test_the_manifest_says_what_was_built(data):
    manifest = load_manifest(data)
    assert manifest.num_samples == 50
    assert [entry.num_samples for entry in manifest.shards] == [20, 20, 10]
    assert manifest.geometry == PLAN.geometry
    assert manifest.held_out_prompts == ("circle moving up-right",)
    assert manifest.builder_config["size"] == "24x32"
    prompts: dict[str, int] = {}
    keys = []
    for entry in manifest.shards:
        for sample in read_samples(data / entry.name):
            frames, prompt = decode_sample(sample, manifest.geometry)
            assert frames.shape == (4, 24, 32, 3)
            prompts[prompt] = prompts.get(prompt, 0) + 1
            keys.append(sample.key)
            metadata = json.loads(sample.members["json"])
            assert {"num_frames", "height", "width", "fps", "source", "motion"} <= metadata.keys()
            assert metadata["motion"] == prompt.removeprefix("circle ")
    assert prompts == manifest.prompts
    assert keys == [f"{i:08d}" for i in range(50)]


def test_other_shard_sizes_hold_the_same_clips(tmp_path, data):
    other = BuildPlan("circles", 50, 50, PLAN.geometry, seed=0)
    build(other, tmp_path / "other", num_workers=1)
    (entry,) = load_manifest(tmp_path / "other").shards
    ours = [s for e in load_manifest(data).shards for s in read_samples(data / e.name)]
    assert list(read_samples(tmp_path / "other" / entry.name)) == ours


def test_a_complete_build_says_so_and_touches_nothing(data):
    before = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    result = run("build_shards", "circles", "--out", data, *SMALL)
    assert result.returncode == 0
    assert "already complete: 50 clips" in result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in data.iterdir()}


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_the_same_command_mends_a_damaged_build(data, damage):
    before = files_in(data)
    shard = data / "circles-00001.tar"
    if damage == "missing":
        shard.unlink()
    else:
        content = bytearray(shard.read_bytes())
        content[900] ^= 4
        shard.write_bytes(content)
    assert run("build_shards", "circles", "--out", data, *SMALL).returncode == 0
    assert files_in(data) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seed", "1", "seed=0, not 1"),
        ("--num-clips", "60", "num_clips=50, not 60"),
        ("--clips-per-shard", "10", "clips_per_shard=20, not 10"),
        ("--num-frames", "5", "num_frames=4, not 5"),
        ("--size", "32x24", "size=24x32, not 32x24"),
        ("scene", "notebook", "builder=circles, not notebook"),
    ],
)
@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_other_arguments_into_the_same_folder_are_refused(data, option, value, message, state):
    if state == "interrupted":
        (data / "manifest.json").unlink()
        Journal(data, PLAN.header).close()
    before = files_in(data)
    arguments = ["circles", "--out", data, "--seed", "0", *SMALL]
    place = 0 if option == "scene" else arguments.index(option) + 1
    arguments[place] = value
    result = run("build_shards", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert files_in(data) == before


def test_shards_of_unknown_origin_are_not_overwritten(data):
    (data / "manifest.json").unlink()
    with pytest.raises(UserError, match="no manifest or journal records"):
        build(PLAN, data, num_workers=1)


def test_a_second_build_into_a_folder_is_refused(tmp_path):
    journal = Journal(tmp_path, PLAN.header)
    result = run("build_shards", "circles", "--out", tmp_path, *SMALL)
    assert result.returncode == 2
    assert "another build is writing" in result.stderr
    journal.close()
    assert run("build_shards", "circles", "--out", tmp_path, *SMALL).returncode == 0


def test_tasks_run_together_but_a_whole_build_excludes_others(tmp_path):
    whole, first, second = Task(), Task(0, 2), Task(1, 2)
    for held, others in ((first, [whole]), (whole, [first, second])):
        with Journal(tmp_path, PLAN.header, held):
            (tmp_path / ".tmp-half.tar").write_bytes(b"half")
            for task in others:
                with pytest.raises(UserError, match="another build is writing"):
                    Journal(tmp_path, PLAN.header, task)
            assert (tmp_path / ".tmp-half.tar").exists()
    with (
        Journal(tmp_path, PLAN.header, first),
        Journal(tmp_path, PLAN.header, second),
    ):
        pass


@pytest.mark.parametrize("name", [JOURNAL_NAME, ".build_journal-0-of-2.jsonl"])
def test_a_journal_that_is_a_link_is_refused(tmp_path, name):
    precious, folder = tmp_path / "precious", tmp_path / "data"
    precious.write_bytes(b"a line\nand a half")
    folder.mkdir()
    (folder / name).symlink_to(precious)
    with pytest.raises(NotPlainFileError, match=name):
        Journal(folder, PLAN.header)
    assert precious.read_bytes() == b"a line\nand a half"


@pytest.mark.parametrize("content", [b"a line\nand a half", b"half a line"])
def test_a_file_that_is_no_journal_is_not_changed(tmp_path, content):
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    with pytest.raises(UserError, match="was written by another version of t2vgan; remove it"):
        Journal(tmp_path, PLAN.header)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == content


def test_a_torn_header_is_written_again(tmp_path):
    Journal(tmp_path, PLAN.header).close()
    whole = (tmp_path / JOURNAL_NAME).read_bytes()
    (tmp_path / JOURNAL_NAME).write_bytes(whole[:-20])
    with Journal(tmp_path, PLAN.header) as journal:
        assert journal.built == {}
    assert (tmp_path / JOURNAL_NAME).read_bytes() == whole


def test_a_shard_is_finished_by_its_checksum_not_by_its_name(data):
    """Torn last line, one intact shard, one damaged, one without a record."""
    expected = files_in(data)
    entries = load_manifest(data).shards
    (data / "manifest.json").unlink()
    with Journal(data, PLAN.header) as journal:
        for index in (0, 1):
            samples = read_samples(data / entries[index].name)
            prompts = Counter(c for sample in samples for c in parse_captions(sample.members))
            journal.record(BuiltShard(index=index, entry=entries[index], prompts=prompts))
    with (data / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"name": "circles-00002.tar", "num_sam')
    (data / "circles-00001.tar").write_bytes(b"damaged")
    (data / ".tmp-left-by-a-kill.tar").write_bytes(b"half")
    kept = (data / "circles-00000.tar").stat().st_mtime_ns
    build(PLAN, data, num_workers=1)
    assert files_in(data) == expected
    assert (data / "circles-00000.tar").stat().st_mtime_ns == kept, "not rendered again"


# ---- interruptions -----------------------------------------------------------------------------


def start_large_build(folder: Path, workers: int) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """Start a build and return when its first shard is recorded.

    It has its own process group.
    """
    process = subprocess.Popen(
        command("build_shards", "circles", "--out", folder, "--workers", workers, *LARGE),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not recorded_shards(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process, psutil.Process(process.pid).children(recursive=True)


def recorded_shards(folder: Path) -> list[Path]:
    """Return the finished shards in the journal of a build."""
    journal = folder / JOURNAL_NAME
    content = journal.read_text() if journal.exists() else ""
    whole_lines = content[: content.rfind("\n") + 1].splitlines()
    return [folder / json.loads(line)["entry"]["name"] for line in whole_lines[1:]]


@pytest.mark.parametrize(
    ("number", "exit_code", "workers"),
    [
        (signal.SIGKILL, -9, 2),
        (signal.SIGTERM, 143, 2),
        (signal.SIGINT, 130, 1),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_interrupted_build_continues(tmp_path, number, exit_code, workers):
    folder = tmp_path / "data"
    process, children = start_large_build(folder, workers)
    # Ctrl-C reaches the whole process group; the others are sent to the command alone.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == exit_code, stderr
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "workers linger"
    assert len(children) >= (1 if workers > 1 else 0)
    assert not (folder / "manifest.json").exists()
    published = {path: path.stat().st_mtime_ns for path in folder.glob("circles-*.tar")}
    for path in published:
        assert len(list(read_samples(path))) == 100, "nothing half-written has a final name"
    if number != signal.SIGKILL:
        assert not list(folder.glob(".tmp-*"))

    recorded = recorded_shards(folder)
    assert recorded, "the first shard was finished"
    result = run("build_shards", "circles", "--out", folder, "--workers", 2, *LARGE)
    assert result.returncode == 0, result.stderr
    for path in recorded:
        assert path.stat().st_mtime_ns == published[path], "finished shards are kept"
    again = LARGE_PLAN.job(14).run(tmp_path / "again", lambda: False)
    assert load_manifest(folder).shards[14] == again.entry
    assert not list(folder.glob(".*"))


def test_ctrl_c_while_the_workers_start_is_quiet(tmp_path):
    process = subprocess.Popen(
        command("build_shards", "circles", "--out", tmp_path, "--workers", 2, *LARGE),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    parent = psutil.Process(process.pid)
    while len(children := parent.children(recursive=True)) < 2:
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(children, timeout=60)[1]


def test_a_shard_stops_when_asked_and_leaves_nothing(tmp_path):
    with pytest.raises(BuildStopped):
        PLAN.job(0).run(tmp_path, lambda: True)
    assert list(tmp_path.iterdir()) == []


def die(job: int, should_stop: object) -> int:
    if job == 2:
        os._exit(9)
    return job


def test_a_worker_that_dies_is_reported():
    with pytest.raises(UserError, match="worker process died"):
        list(run_jobs(die, range(4), num_workers=2))


def test_a_failing_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("build_shards", "circles", "--out", tmp_path / "file" / "data", *SMALL)
    assert result.returncode == 2
    assert re.fullmatch(r"error: .*Not a directory\n", result.stderr)


def test_a_full_disk_is_one_line_and_finished_shards_stay(small_disk):
    arguments = ["build_shards", "circles", "--out", small_disk / "data", "--num-clips", "2000"]
    result = run(*arguments, "--clips-per-shard", "200", "--workers", "2")
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    finished = list((small_disk / "data").glob("circles-*.tar"))
    assert 0 < len(finished) < 10
    for path in finished:
        assert len(list(read_samples(path))) == 200


# ---- wrong arguments ---------------------------------------------------------------------------


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


# ---- inspecting and verifying ------------------------------------------------------------------


def test_inspect_shows_counts_and_writes_the_sheets(tmp_path, data):
    result = run("inspect_shards", data, "--out", tmp_path / "sheets")
    assert result.returncode == 0, result.stderr
    manifest = load_manifest(data)
    assert "50 clips in 3 shards" in result.stdout
    for prompt, count in manifest.prompts.items():
        assert re.search(rf"{re.escape(prompt)} +{count} +#", result.stdout)
    with Image.open(tmp_path / "sheets" / "contact_sheet.gif") as sheet:
        assert sheet.n_frames == 4
    image = np.asarray(Image.open(tmp_path / "sheets" / "contact_sheet.png").convert("RGB"))
    blue = (image == (0, 0, 255)).all(axis=2)
    assert blue.sum() > 18 * 4 * 5, "the circles are there, and blue"
    assert not (image == (255, 0, 0)).all(axis=2).any()


def test_verify_accepts_a_sound_folder(data):
    result = run("verify_shards", data)
    assert result.returncode == 0
    assert "50 clips in 3 shards, all sound" in result.stdout


def replace_shard(data: Path, index: int, samples: list[EncodedSample]) -> None:
    """Put another shard in place, the manifest agreeing with its bytes."""
    manifest = load_manifest(data)
    shards = list(manifest.shards)
    shards[index] = write_shard(data / shards[index].name, samples)
    write_manifest(data, manifest.model_copy(update={"shards": tuple(shards)}))


def test_verify_lists_every_problem(data):
    manifest = load_manifest(data)
    first, second = (list(read_samples(data / e.name)) for e in manifest.shards[:2])
    second[3].members["webp"] = second[3].members["webp"][:50]
    second[4].members["txt"] = b"..."
    second[5].members["json"] = b"{"
    second[6] = EncodedSample(first[0].key, second[6].members)
    replace_shard(data, 1, second)
    content = bytearray((data / manifest.shards[2].name).read_bytes())
    content[700] ^= 1  # inside the first member's bytes: only the checksum and the decoder see it
    (data / manifest.shards[2].name).write_bytes(content)
    result = run("verify_shards", data)
    assert result.returncode == 1
    assert "sample 00000023: strip cannot be decoded" in result.stdout
    assert "sample 00000024: prompt has no words" in result.stdout
    assert "sample 00000025: metadata is not JSON" in result.stdout
    assert "sample 00000000: key is already used in circles-00000.tar" in result.stdout
    assert "circles-00002.tar: expected sha256" in result.stdout
    assert re.search(r"prompt 'circle .*': expected \d+ clips, found \d+", result.stdout)
    assert re.search(r"\d+ problems", result.stdout)


@pytest.mark.parametrize("damage", ["missing", "truncated", "boundary", "foreign"])
def test_verify_names_the_damaged_shard(data, damage):
    shard = data / "circles-00001.tar"
    content = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        shard.write_bytes(content[:3000])
    elif damage == "boundary":
        samples = len(list(read_samples(shard)))
        assert samples == 20
        shard.write_bytes(content[:1024])
    else:
        shard.write_bytes(b"PK" + bytes(5000))
    result = run("verify_shards", data)
    assert result.returncode == 1
    assert "circles-00001.tar" in result.stdout
    assert "expected 20 samples, found" in result.stdout or damage == "missing"
    assert "circles-00000.tar" not in result.stdout


def test_pages_show_some_clips_of_every_prompt():
    assert share_out({"a": 9, "b": 9, "c": 1}, 6) == {"a": 3, "b": 2, "c": 1}
    assert share_out({"a": 1, "b": 0}, 6) == {"a": 1}
    assert list(share_out(dict.fromkeys("abcdef", 9), 3)) == ["a", "c", "e"]
    clips = [(prompt, np.full((1, 2, 2, 3), i)) for prompt in "ab" for i in range(4)]
    assert [(prompt, frames.max()) for prompt, frames in select_clips(clips, 5)] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1),
    ]  # fmt: skip
