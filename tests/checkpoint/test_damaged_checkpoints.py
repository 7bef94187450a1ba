"""Damaged checkpoints are found, named and set aside."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.checkpoint import storage
from t2vgan.errors import UserError
from tests.support.saved_runs import (
    FILES,
    Run,
    assert_same,
    contents,
    flip,
    flip_last_bit,
    forge,
    names,
    seal,
    steps,
)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" x")


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (
    flip_last_bit, truncate, empty, lengthen, Path.unlink, replace_with_folder, replace_with_pipe,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_named_set_aside_and_the_previous_used(
    tmp_path, caplog, file, damage
):
    good = Run(seed=0).train(range(1))
    good.save(tmp_path, 1)
    folder = Run(seed=1).train(range(2)).save(tmp_path, 2)
    assert set(contents(folder)) == set(FILES)
    damage(folder / file)

    restored = Run(seed=2)
    with caplog.at_level(logging.WARNING):
        assert restored.load(tmp_path)["step"] == 1
    assert_same(restored, good)
    assert names(tmp_path) == {"step_00000001", "damaged-step_00000002"}
    (warning,) = caplog.messages
    assert f"{folder} is damaged: {file}" in warning
    assert "set aside as damaged-step_00000002" in warning


def test_a_truncated_file_is_described_by_its_sizes(tmp_path):
    folder = Run().save(tmp_path, 1)
    num_bytes = (folder / "generator.safetensors").stat().st_size
    truncate(folder / "generator.safetensors")
    answer = f"generator.safetensors has {num_bytes - 1} bytes instead of {num_bytes}"
    with pytest.raises(storage.DamagedError, match=answer):
        storage.verify(folder)


SOUND: dict[str, Path] = {}


@given(file=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(tmp_path_factory, file, place, bit):
    if not SOUND:
        run_dir = tmp_path_factory.mktemp("sound")
        SOUND["folder"] = Run().train(range(1)).save(run_dir, 1)
    path = SOUND["folder"] / file
    position = int(place * path.stat().st_size)
    flip(path, position, bit)
    try:
        with pytest.raises(storage.DamagedError, match=file):
            storage.verify(SOUND["folder"])
    finally:
        flip(path, position, bit)
    storage.verify(SOUND["folder"])


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


STRANGE = (Path.touch, Path.mkdir, os.mkfifo, link_to_nothing, link_to_itself)


@pytest.mark.parametrize("make", STRANGE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["step_00000007", "step_7", "step_99999999999999999999"])
def test_what_is_only_called_like_a_checkpoint_is_set_aside(tmp_path, make, name):
    run = Run(seed=0).train(range(1))
    run.save(tmp_path, 1)
    make(tmp_path / "checkpoints" / name)
    restored = Run(seed=1)
    assert restored.load(tmp_path)["step"] == 1
    assert names(tmp_path) == {"step_00000001", f"damaged-{name}"}
    make(tmp_path / "checkpoints" / "step_00000007")  # nor does it stand in the way of a save
    run.save(tmp_path, 7)
    assert restored.load(tmp_path)["step"] == 7


def test_steps_are_listed_of_folders_under_their_own_names_only(tmp_path):
    folder = tmp_path / "checkpoints"
    for name in ("step_00000012", "step_00000003", "step_5", "step_x", "damaged-step_00000004"):
        (folder / name).mkdir(parents=True)
    (folder / "step_00000007").touch()
    link_to_nothing(folder / "step_00000009")
    assert steps(tmp_path) == [3, 12]


def test_a_good_checkpoint_under_a_name_without_zeros_is_set_aside(tmp_path):
    Run().save(tmp_path, 1)
    folder = Run().save(tmp_path, 7)
    folder.rename(folder.with_name("step_7"))
    assert Run().load(tmp_path)["step"] == 1
    assert names(tmp_path) == {"step_00000001", "damaged-step_7"}


def test_of_a_linked_checkpoint_only_the_link_is_removed(tmp_path):
    elsewhere = Run().save(tmp_path / "elsewhere", 1)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / elsewhere.name).symlink_to(elsewhere)
    assert Run().load(tmp_path)["step"] == 1
    for step in (2, 3):
        Run().save(tmp_path, step)
    assert names(tmp_path) == {"step_00000002", "step_00000003"}
    storage.verify(elsewhere)


@pytest.mark.parametrize(
    "state",
    [b"", b"\xff", b"[]", b"7", b"{", b"[" * 10**5, b'{"step": ' + b"9" * 5000 + b"}",
     b'{"step": "\\ud800"}'],
    ids=lambda state: repr(state[:12]),
)  # fmt: skip
def test_a_sealed_state_that_is_none_is_damaged(tmp_path, state):
    Run().save(tmp_path, 1)
    seal(Run().save(tmp_path, 2), "state.json", state)
    assert Run().load(tmp_path)["step"] == 1
    assert names(tmp_path) == {"step_00000001", "damaged-step_00000002"}


def test_a_checkpoint_under_another_step_is_damaged(tmp_path):
    folder = Run().save(tmp_path, 1)
    folder.rename(folder.with_name("step_00000007"))
    with pytest.raises(UserError, match="no good checkpoint is left"):
        Run().load(tmp_path)


def test_when_all_are_damaged_the_run_does_not_quietly_start_over(tmp_path):
    for step in (1, 2):
        flip_last_bit(Run().save(tmp_path, step) / "state.json")
    for _ in range(2):  # asked again, it answers the same
        with pytest.raises(UserError, match="damaged-step_00000001, damaged-step_00000002"):
            Run().load(tmp_path)


def test_the_same_step_may_be_damaged_twice(tmp_path):
    for _ in range(3):
        flip_last_bit(Run().save(tmp_path, 1) / "state.json")
    Run().save(tmp_path, 1)
    assert names(tmp_path) == {
        "step_00000001", "damaged-step_00000001", "damaged-step_00000001-2",
        "damaged-step_00000001-3",
    }  # fmt: skip


def test_a_newer_format_is_refused_and_not_changed(tmp_path):
    folder = Run().save(tmp_path, 1)
    forge(folder, "other", format_version=2, files=["another", "layout"])
    with pytest.raises(UserError, match="format version 2, but this t2vgan reads 1"):
        Run().load(tmp_path)
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "..", "", "a" * 201, "a" * 5000], ids=lambda s: s[:12]
)
def test_a_manifest_with_a_forged_name_is_damaged(tmp_path, name):
    folder = Run().save(tmp_path, 1)
    forge(folder, name)
    with pytest.raises(storage.DamagedError, match="MANIFEST"):
        storage.verify(folder)
