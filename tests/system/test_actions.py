"""Builds of `actions` with the real engine."""

import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from data_tools.build.journal import JOURNAL_NAME
from data_tools.build_shards import BuildOptions, build, main, make_plan
from data_tools.games.actions import ACTIONS, PLACE_PHRASES
from data_tools.games.episodes import plan_episodes
from data_tools.games.recorder import Recorder
from data_tools.scenes.actions import HELD_OUT_LEVELS, LEVELS
from t2vgan.data.shards import Geometry, decode_sample, load_manifest, parse_metadata, read_samples
from t2vgan.errors import UserError

ROOT = Path(__file__).parents[2]
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed"
)
pytestmark = pytest.mark.system
ENGINE = "vizdoom"
NUM_FRAMES = 8


def options(scene: str, out: Path, *, num_clips: int = 40, size: str = "16x16") -> BuildOptions:
    return BuildOptions(
        scene, str(out), num_clips=num_clips, clips_per_shard=20, num_frames=NUM_FRAMES, size=size
    )


def build_clips(folder: Path, scene: str = "actions", *, workers: int = 1, **changes) -> Path:
    build(make_plan(options(scene, folder, **changes)), folder, num_workers=workers)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def samples(folder: Path):
    """Return frames, prompt and metadata of each clip."""
    manifest = load_manifest(folder)
    found = [sample for e in manifest.shards for sample in read_samples(folder / e.name)]
    return [(*decode_sample(one, manifest.geometry), parse_metadata(one)) for one in found]


def engines() -> set[int]:
    """Return the processes of game engines that live below this one."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.name() == ENGINE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return 40 clips, recorded in this process."""
    return build_clips(tmp_path_factory.mktemp("actions") / "data")


@needs_engine
def test_two_workers_record_the_same_bytes(folder, tmp_path):
    assert content(build_clips(tmp_path / "data", workers=2)) == content(folder)


@needs_engine
def test_a_killed_build_leaves_no_engine_and_continues_to_the_same_bytes(folder, tmp_path):
    arguments = ["actions", "--out", tmp_path / "data", "--num-clips", 40, "--clips-per-shard", 20]
    arguments += ["--num-frames", NUM_FRAMES, "--size", "16x16", "--workers", 1]
    command = [sys.executable, "-m", "data_tools.build_shards", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    journal = tmp_path / "data" / JOURNAL_NAME
    while not (journal.exists() and journal.read_text().count("\n") > 1):
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert ENGINE in {child.name() for child in children}
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert not (tmp_path / "data" / "manifest.json").exists()
    assert content(build_clips(tmp_path / "data")) == content(folder)


@needs_engine
def test_labels_are_equal_in_number_and_prompts_say_them(folder):
    found = samples(folder)
    assert Counter(metadata["label"] for _, _, metadata in found) == dict.fromkeys(ACTIONS, 4)
    for _, prompt, metadata in found:
        phrases = ACTIONS[metadata["label"]].phrases
        places = PLACE_PHRASES.get(metadata["place"], ())
        assert prompt in {f"{a} {b}".strip() for a in phrases for b in ("", *places)}
        assert metadata["level"] in LEVELS


@needs_engine
def test_the_player_goes_where_the_label_says(folder):
    for _, _, metadata in samples(folder):
        action = ACTIONS[metadata["label"]]
        angle = np.radians(metadata["start_angle"])
        ahead = np.array([np.cos(angle), np.sin(angle)])
        left = np.array([-ahead[1], ahead[0]])
        way = np.array([metadata["end_x"], metadata["end_y"]])
        way -= metadata["start_x"], metadata["start_y"]
        assert np.sign(metadata["turn_per_tic"]) == action.turn
        if not action.moves:
            assert np.linalg.norm(way) < 8
        elif action.turn:
            assert way @ left * action.turn > 8
            assert way @ ahead > 80
        else:
            direction = action.forward * ahead + action.left * left
            assert way @ direction > 0.95 * np.linalg.norm(way) > 80


@needs_engine
def test_pictures_move_where_the_player_turns(folder):
    """A turn to the left shifts what is seen to the right."""
    shifts: dict[str, list[int]] = {"turn_left": [], "turn_right": []}
    for frames, _, metadata in samples(build_clips(folder.parent / "wide", size="60x80")):
        if metadata["label"] not in shifts:
            continue
        for before, after in itertools.pairwise(frames):
            first, second = (frame[15:35].astype(float).mean(axis=-1) for frame in (before, after))
            errors = {
                shift: np.abs(second[:, 15 + shift : 65 + shift] - first[:, 15:65]).mean()
                for shift in range(-12, 13)
            }
            shifts[metadata["label"]].append(min(errors, key=lambda shift: errors[shift]))
    assert np.median(shifts["turn_left"]) > 2
    assert np.median(shifts["turn_right"]) < -2


@needs_engine
def test_every_size_shows_the_same_clips(folder):
    small = samples(folder)
    wide = samples(build_clips(folder.parent / "wide", size="60x80"))
    for (_, prompt, metadata), (_, other, others) in zip(small, wide, strict=True):
        assert prompt == other
        same = metadata.keys() - {"height", "width"}
        assert {name: metadata[name] for name in same} == {name: others[name] for name in same}


@needs_engine
def test_the_manifest_counts_what_was_thrown_away(folder):
    manifest = load_manifest(folder)
    counts: Counter[str] = Counter()
    for _, _, metadata in samples(folder):
        counts.update(metadata["rejected"])
    assert manifest.rejected == counts
    assert manifest.fps == pytest.approx(35 / 3)
    assert "vizdoom" in manifest.builder_version


@needs_engine
def test_held_out_clips_show_other_levels(tmp_path):
    found = samples(build_clips(tmp_path, "actions-held-out", num_clips=10))
    assert Counter(metadata["label"] for _, _, metadata in found) == dict.fromkeys(ACTIONS, 1)
    assert {metadata["level"] for _, _, metadata in found} <= set(HELD_OUT_LEVELS)


@needs_engine
@pytest.mark.parametrize(
    ("process", "number", "message"),
    [
        ("engine", signal.SIGKILL, "the game engine('s process died| failed)"),
        ("engine", signal.SIGSTOP, "the game engine made no clip within 8 seconds"),
        ("recorder", signal.SIGKILL, "the game engine's process died"),
    ],
    ids=["engine dies", "engine hangs", "recorder dies"],
)
def test_a_failure_is_one_line_and_the_next_recording_works(process, number, message, capfd):
    geometry = Geometry(num_frames=2, height=8, width=8)
    ((order, _),) = plan_episodes(range(0, 100, 5), 0, geometry, "test", LEVELS[:1])
    others = engines()
    recorder = Recorder(clip_seconds=8 if number == signal.SIGSTOP else 60)
    try:
        clips = recorder.record(order)
        next(clips)
        (engine,) = engines() - others
        os.kill(engine if process == "engine" else psutil.Process(engine).ppid(), number)
        with pytest.raises(UserError, match=message):
            list(clips)
        assert not engines() - others
        assert capfd.readouterr().err == ""
        assert len(list(recorder.record(order))) == 20
    finally:
        recorder.close()
    assert not engines() - others


def test_a_missing_engine_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["build", "actions", "--out", str(tmp_path / "data")])
    with pytest.raises(
        UserError, match=r"scene actions needs vizdoom: pip install 't2vgan\[games\]'"
    ):
        main()
    assert not (tmp_path / "data").exists()
