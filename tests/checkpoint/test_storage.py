"""Checkpoints are bit-exact, verified, and survive kills and full disks."""

import contextlib
import errno
import hashlib
import json
import logging
import multiprocessing
import os
import time
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from t2vgan.checkpoint import storage
from t2vgan.checkpoint.state_dict import (
    create_snapshot,
    find_latest_step,
    load_checkpoint,
    save_checkpoint,
)
from t2vgan.errors import UserError

STATE = {"step": 10, "clips_seen": 160, "seconds": 0.1 + 0.2, "best": None, "scaler": [65536.0]}


class Run:
    """Two small networks that train, as a trainer would save them."""

    def __init__(self, seed: int = 0, width: int = 4, **adam):
        torch.manual_seed(seed)
        self.modules = {
            "generator": nn.Sequential(nn.Conv3d(3, width, 3), nn.BatchNorm3d(width)),
            "discriminator": nn.Linear(width, 1, bias=False),
            "generator_ema": nn.Linear(2, 2).requires_grad_(False),
        }
        self.modules["generator"].to(memory_format=torch.channels_last_3d)
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=0.01, **adam)
            for name in ("generator", "discriminator")
        }

    def train(self, steps: range) -> "Run":
        for step in steps:
            torch.manual_seed(step)
            video = torch.randn(2, 3, 3, 4, 5)
            features = self.modules["generator"](video).mean([2, 3, 4])
            (self.modules["discriminator"](features).square().mean() + features.sum()).backward()
            for optimizer in self.optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
        return self

    def save(self, run_dir: Path, step: int, **options) -> Path:
        state = STATE | {"step": step}
        snapshot = create_snapshot(self.modules, self.optimizers)
        return save_checkpoint(run_dir, step, snapshot, state, **options)

    def load(self, run_dir: Path):
        step = find_latest_step(run_dir)
        if step is None:
            return None
        return load_checkpoint(run_dir, step, self.modules, self.optimizers)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that must survive, by a name of its own."""
        found = {}
        for name, module in self.modules.items():
            found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            state = optimizer.state_dict()["state"]
            found |= {
                f"{name}/{i}/{k}": v for i, values in state.items() for k, v in values.items()
            }
        return {name: value.clone() for name, value in found.items()}


def assert_same(a: Run, b: Run) -> None:
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert value.stride() == right[name].stride(), name
        assert torch.equal(value, right[name]), name


def steps(run_dir: Path) -> list[int]:
    return storage.list_steps(run_dir)


def names(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "checkpoints").iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- round trip --------------------------------------------------------------------------------


@pytest.mark.parametrize("adam", [{}, {"amsgrad": True}, {"fused": True}], ids=str)
def test_a_restored_run_goes_on_bit_for_bit(tmp_path, adam):
    run = Run(seed=0, **adam).train(range(3))
    run.save(tmp_path, 3)
    restored = Run(seed=1, **adam).train(range(50, 51))
    assert restored.load(tmp_path) == STATE | {"step": 3}
    assert_same(run, restored)
    assert_same(run.train(range(3, 6)), restored.train(range(3, 6)))


def test_before_the_first_step_the_optimizers_are_empty_again(tmp_path):
    run = Run(seed=0)
    run.save(tmp_path, 0)
    restored = Run(seed=1).train(range(2))
    restored.load(tmp_path)
    assert all(not optimizer.state for optimizer in restored.optimizers.values())
    assert_same(run.train(range(2)), restored.train(range(2)))


def test_optimizer_tensors_are_stored_by_parameter_name(tmp_path):
    folder = Run().train(range(1)).save(tmp_path, 1)
    run = Run(seed=1)
    parameters = list(run.modules["generator"].parameters())
    backwards = torch.optim.Adam(
        [{"params": parameters[2:], "lr": 0.5}, {"params": parameters[1::-1], "lr": 0.25}]
    )
    load_checkpoint(tmp_path, 1, run.modules, {"generator": backwards})
    assert backwards.state[parameters[0]]["exp_avg"].shape == parameters[0].shape
    assert [group["lr"] for group in backwards.param_groups] == [0.5, 0.25]  # not restored
    assert b"generator.0.weight/exp_avg_sq" in contents(folder)["generator_optimizer.safetensors"]


def test_tensors_already_live_keep_their_identity(tmp_path):
    Run().save(tmp_path, 1)
    run = Run(seed=1)
    before = {id(parameter) for parameter in run.modules["generator"].parameters()}
    run.load(tmp_path)
    assert {id(parameter) for parameter in run.modules["generator"].parameters()} == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(state=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_state_comes_back(tmp_path_factory, state):
    run_dir = tmp_path_factory.mktemp("state")
    save_checkpoint(run_dir, 1, {}, state)
    assert load_checkpoint(run_dir, 1, {}, {}) == state


def test_the_same_state_gives_the_same_bytes(tmp_path):
    run = Run().train(range(2))
    found = contents(run.save(tmp_path / "a", 2))
    assert found == contents(run.save(tmp_path / "b", 2))
    files = list(json.loads(found["MANIFEST.json"])["files"])
    assert files == sorted(files), "not in the order of the file system"


def test_there_is_no_pickle(tmp_path):
    for name, data in contents(Run().train(range(1)).save(tmp_path, 1)).items():
        assert name.endswith((".safetensors", ".json"))
        assert not data.startswith((b"\x80", b"PK"))


def test_a_run_without_checkpoints_starts_from_the_beginning(tmp_path):
    assert find_latest_step(tmp_path / "nowhere") is None
    assert Run().load(tmp_path) is None


# --- another network than the one saved ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "answer"),
    [
        ("discriminator", nn.Linear(5, 1, bias=False),
         "discriminator.weight is (1, 4) float32 in the checkpoint but (1, 5) float32"),
        ("discriminator", nn.Linear(4, 1),
         "discriminator.bias is absent in the checkpoint but (1,) float32"),
        ("generator_ema", nn.Linear(2, 2, bias=False),
         "generator_ema.bias is (2,) float32 in the checkpoint but absent"),
        ("generator_ema", nn.Linear(2, 2).double(),
         "generator_ema.bias is (2,) float32 in the checkpoint but (2,) float64"),
        ("text_encoder", nn.Linear(2, 2), "text_encoder.safetensors is missing"),
    ],
)  # fmt: skip
def test_a_misfit_names_the_tensor_and_changes_nothing(tmp_path, name, module, answer):
    Run().train(range(1)).save(tmp_path, 1)
    run = Run(seed=1)
    run.modules[name] = module
    run.optimizers.pop("discriminator")
    before = run.tensors()
    with pytest.raises(UserError) as caught:
        run.load(tmp_path)
    assert answer in str(caught.value)
    assert "step_00000001 does not fit these options" in str(caught.value)
    after = run.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert steps(tmp_path) == [1]  # it is not damaged


def test_an_optimizer_misfit_names_the_tensor(tmp_path):
    run = Run().train(range(1))
    state = run.optimizers["discriminator"].state[run.modules["discriminator"].weight]
    state["exp_avg"] = torch.zeros(1, 5)
    run.save(tmp_path, 1)
    answer = r"discriminator_optimizer\.discriminator\.weight/exp_avg is \(1, 5\).* but \(1, 4\)"
    with pytest.raises(UserError, match=answer):
        Run().load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("exp_avg", torch.zeros(1, 4, dtype=torch.int8), r"\(1, 4\) int8"),
        ("exp_avg_sq", torch.zeros(1, 4, dtype=torch.float64), r"\(1, 4\) float64"),
        ("exp_avg_sq", torch.zeros(()), r"\(\) float32"),
        ("step", torch.zeros((), dtype=torch.int64), r"\(\) int64"),
        ("exp_avg", None, "absent"),
        ("step", None, "absent"),
        ("other", torch.zeros(1, 4), r"\(1, 4\) float32"),
    ],
)
def test_optimizer_state_is_that_of_adam(tmp_path, key, value, found):
    run = Run().train(range(1))
    state = run.optimizers["discriminator"].state[run.modules["discriminator"].weight]
    state[key] = value
    if value is None:
        del state[key]
    run.save(tmp_path, 1)
    with pytest.raises(
        UserError, match=rf"discriminator\.weight/{key} is {found} in the checkpoint"
    ):
        Run().load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_holds_no_numbers_is_refused(tmp_path, value):
    run = Run()
    run.modules["generator_ema"].weight[1, 1] = value
    run.save(tmp_path, 1)
    other = Run(seed=1)
    before = other.tensors()
    with pytest.raises(UserError, match=r"generator_ema.*weight holds NaN or inf.*move this check"):
        other.load(tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in other.tensors().items())


def test_optimizer_state_of_an_unknown_parameter_is_named(tmp_path):
    Run().train(range(1)).save(tmp_path, 1)
    run = Run()
    run.optimizers["generator"] = torch.optim.Adam([run.modules["generator"][0].weight])
    with pytest.raises(UserError, match=r"generator\.0\.bias/exp_avg is \(4,\) float32 .* absent"):
        run.load(tmp_path)


# --- damage ------------------------------------------------------------------------------------

FILES = (
    "MANIFEST.json", "state.json", "generator.safetensors", "discriminator.safetensors",
    "generator_ema.safetensors", "generator_optimizer.safetensors",
    "discriminator_optimizer.safetensors",
)  # fmt: skip


def flip_last_bit(path: Path) -> None:
    flip(path, path.stat().st_size - 1, 0)


def flip(path: Path, position: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


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


def seal(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint, and its entry in the manifest."""
    (folder / name).write_bytes(content)
    forge(folder, name, len(content), hashlib.sha256(content).hexdigest())


def forge(folder: Path, name: str, num_bytes: int = 0, sha256: str = "", **changes) -> None:
    """Change the manifest of a checkpoint, with the checksum that belongs to it."""
    fields = json.loads((folder / "MANIFEST.json").read_text())
    fields["files"][name] = {"num_bytes": num_bytes, "sha256": sha256}
    write_sealed(folder, fields | changes)


def write_sealed(folder: Path, fields: dict) -> None:
    fields["sha256"] = storage.compute_checksum(fields)
    (folder / "MANIFEST.json").write_text(json.dumps(fields))


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


# --- publishing and retention -------------------------------------------------------------------


def test_a_published_step_is_never_overwritten(tmp_path):
    folder = Run(seed=0).save(tmp_path, 5)
    before = contents(folder)
    assert Run(seed=1).train(range(2)).save(tmp_path, 5) == folder
    assert contents(folder) == before


def test_a_damaged_step_makes_way_for_its_successor(tmp_path):
    flip_last_bit(Run(seed=0).save(tmp_path, 5) / "generator.safetensors")
    again = Run(seed=0)
    again.save(tmp_path, 5)
    assert names(tmp_path) == {"step_00000005", "damaged-step_00000005"}
    restored = Run(seed=1)
    restored.load(tmp_path)
    assert_same(restored, again)


@pytest.mark.parametrize(
    ("keep", "protect", "kept"),
    [
        (2, (), [40, 50]),
        (3, (), [30, 40, 50]),
        (1, (), [40, 50]),
        (0, (), [40, 50]),
        (2, {10, 30}, [10, 30, 40, 50]),
        (2, {50, 99}, [40, 50]),
        (9, (), [10, 20, 30, 40, 50]),
    ],
)
def test_retention_keeps_the_newest_and_the_protected(tmp_path, keep, protect, kept):
    run = Run()
    for step in (10, 20, 30, 40, 50):
        run.save(tmp_path, step, keep=keep, protect=protect)
    assert steps(tmp_path) == kept
    assert names(tmp_path) == {f"step_{step:08d}" for step in kept}


def test_retention_never_takes_the_one_just_saved(tmp_path):
    run = Run()
    for step in (100, 200, 300, 50):  # 50: a run that went back
        run.save(tmp_path, step)
    assert steps(tmp_path) == [50, 200, 300]


def test_steps_beyond_eight_digits_stay_in_order(tmp_path):
    run = Run()
    for step in (99_999_999, 100_000_000, 100_000_001):
        run.save(tmp_path, step)
    assert find_latest_step(tmp_path) == 100_000_001
    assert steps(tmp_path) == [100_000_000, 100_000_001]


@pytest.mark.parametrize("act", [find_latest_step, lambda run_dir: Run().save(run_dir, 2)])
def test_leftovers_of_a_killed_save_are_removed(tmp_path, act):
    folder = Run().save(tmp_path, 1)
    leftover = folder.parent / ".tmp-abc"
    leftover.mkdir()
    (leftover / "generator.safetensors").write_bytes(b"half")
    act(tmp_path)
    assert not leftover.exists()
    assert steps(tmp_path)[0] == 1


def save_for_ever(run: Run, run_dir: Path, said, keep: int = 2) -> None:
    for step in count(1):
        run.save(run_dir, step, keep=keep)
        said.send(step)


def test_a_name_appears_only_with_everything_under_it(tmp_path):
    processes = multiprocessing.get_context("fork")
    _, said = processes.Pipe(duplex=False)
    saver = processes.Process(target=save_for_ever, args=(Run(), tmp_path, said, 100))
    saver.start()
    try:
        for step in range(1, 40):
            folder = storage.step_folder(tmp_path, step)
            while not folder.exists():
                assert saver.is_alive()
            assert {path.name for path in folder.iterdir()} == set(FILES)
    finally:
        saver.kill()
        saver.join()


def test_sigkill_at_any_moment_leaves_only_good_checkpoints(tmp_path):
    processes = multiprocessing.get_context("fork")  # torch need not be imported again
    run = Run(seed=0).train(range(1))
    for number in range(20):
        run_dir = tmp_path / str(number)
        heard, said = processes.Pipe(duplex=False)
        saver = processes.Process(target=save_for_ever, args=(run, run_dir, said))
        saver.start()
        said.close()
        promised = [heard.recv() for _ in range(3)]
        time.sleep(0.0017 * number)
        saver.kill()
        with contextlib.suppress(EOFError):
            while True:
                promised.append(heard.recv())
        saver.join()

        restored = Run(seed=1)
        assert restored.load(run_dir)["step"] >= promised[-1]
        assert_same(restored, run)
        assert all(name.startswith("step_") for name in names(run_dir))
        for step in steps(run_dir):  # none of them half-written or half-removed
            storage.verify(storage.step_folder(run_dir, step))


def test_a_kill_while_the_only_checkpoint_is_replaced_loses_neither(tmp_path, monkeypatch):
    """Ended at each of its renames in turn, a save leaves the old or the new checkpoint, whole."""
    fork = multiprocessing.get_context("fork")
    rename = Path.rename
    old, new = Run(seed=0).train(range(1)), Run(seed=0).train(range(2))

    def save_until(last: int) -> None:
        renames = count(1)
        monkeypatch.setattr(
            Path, "rename", lambda *a: rename(*a) if next(renames) < last else os._exit(9)
        )
        new.save(tmp_path / str(last), 1, replace=True)

    for last in count(1):
        run_dir = tmp_path / str(last)
        old.save(run_dir, 1)
        saver = fork.Process(target=save_until, args=(last,))
        saver.start()
        saver.join()
        restored = Run(seed=1)
        assert restored.load(run_dir)["step"] == 1
        assert_same(restored, old if last <= 2 else new)
        assert names(run_dir) == {"step_00000001"}
        if saver.exitcode == 0:
            break
    assert last > 3


def test_a_refused_replacement_leaves_the_old_checkpoint_under_its_name(tmp_path, monkeypatch):
    before = saved_before(tmp_path)
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if source.name.startswith(".tmp-"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        Run().save(tmp_path, 1, replace=True)
    assert_survived(tmp_path, before)


# --- disks that refuse -------------------------------------------------------------------------


def saved_before(run_dir: Path) -> dict[str, bytes]:
    return contents(Run(seed=0).train(range(1)).save(run_dir, 1))


def assert_survived(run_dir: Path, before: dict[str, bytes]) -> None:
    assert names(run_dir) == {"step_00000001"}
    assert contents(run_dir / "checkpoints" / "step_00000001") == before
    assert Run(seed=9).load(run_dir)["step"] == 1


def test_too_little_free_space_is_said_before_writing(small_disk):
    before = saved_before(small_disk)
    with pytest.raises(OSError, match=r"it needs 6\.\d MB and \d\.\d MB are free") as caught:
        save_checkpoint(
            small_disk, 2, create_snapshot({"generator": nn.Linear(1_300_000, 1)}, {}), {}
        )
    assert caught.value.errno == errno.ENOSPC
    assert "step_00000002" in caught.value.filename
    assert_survived(small_disk, before)


def test_a_disk_that_fills_up_while_saving(small_disk):
    """The free space looks fine, but there are no more files."""
    before = saved_before(small_disk)
    modules = {f"part{number}": nn.Linear(2, 2) for number in range(40)}
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(small_disk, 2, create_snapshot(modules, {}), {})
    assert caught.value.errno == errno.ENOSPC
    assert_survived(small_disk, before)


def test_file_size_limit_while_saving(tmp_path, file_size_limit):
    before = saved_before(tmp_path)
    with file_size_limit(10_000), pytest.raises(OSError, match="File too large") as caught:
        save_checkpoint(tmp_path, 2, create_snapshot({"generator": nn.Linear(10_000, 1)}, {}), {})
    assert caught.value.errno == errno.EFBIG
    assert "generator.safetensors" in caught.value.filename
    assert_survived(tmp_path, before)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OSError, match="checkpoints"):
        Run().save(tmp_path, 1)


def test_a_good_checkpoint_that_is_not_wanted_is_set_aside(tmp_path):
    run = Run().train(range(1))
    for step in (1, 2):
        run.save(tmp_path, step)
    assert find_latest_step(tmp_path, lambda state: state["step"] < 2) == 1
    assert find_latest_step(tmp_path) == 1
    assert (tmp_path / "checkpoints" / "unwanted-step_00000002").is_dir()
