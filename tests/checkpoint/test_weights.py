"""Weights files: exact round trip, and one clear line otherwise."""

import errno
import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from t2vgan.checkpoint import tensor_files
from t2vgan.checkpoint.weights import (
    WeightsInfo,
    find_weights,
    list_shipped_weights,
    load_weights,
    load_weights_info,
    save_weights,
)
from t2vgan.commands.generate import find_file
from t2vgan.config import ClipGanConfig, NotebookGanConfig
from t2vgan.errors import UserError
from t2vgan.pipeline import find_pretrained
from t2vgan.utils.memory import read_memory_size

INFO = WeightsInfo(
    model=ClipGanConfig(latent_size=7),
    num_frames=10,
    height=64,
    width=48,
    fps=12.5,
    words=("circle", "moving", "up", "zigzagging"),
    prompts=("circle moving up",),
    held_out_prompts=("circle moving up-right",),
    step=4000,
    clips_seen=64_000,
    t2vgan_version="0.1.0",
)


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 2, 5, 3, generator=generator).to(
            memory_format=torch.channels_last_3d
        ),
        "half": torch.randn(6, 2, generator=generator).bfloat16().T,
        "table": torch.tensor([[1.0, -0.0], [5e-324, -1.5e308]], dtype=torch.float64),
        "count": torch.tensor(2**60 + 1),
        "mask": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
    }


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    a, b = a.contiguous(), b.contiguous()
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))
    )


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(path, some_tensors(), INFO)
    return path


def refusal(path: Path) -> str:
    """Return the one line that `load_weights` answers with."""
    with pytest.raises(UserError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("model", [ClipGanConfig(hidden_size=31), NotebookGanConfig()])
def test_round_trip_is_bit_exact(tmp_path, model):
    info = INFO.model_copy(update={"model": model})
    save_weights(tmp_path / "w.safetensors", some_tensors(), info)
    tensors, loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded == info
    assert loaded.model == model
    assert tensors.keys() == some_tensors().keys()
    for name, tensor in some_tensors().items():
        assert same_bits(tensors[name], tensor), name


def test_the_same_weights_give_the_same_bytes(tmp_path):
    words = (
        "caf\u00e9",
        "\u4e0a",
        'quote"',
        "line\nbreak",
        "\x01\x7f",
        "back\\slash",
        "\U0001f600",
    )
    info = INFO.model_copy(update={"words": words})
    paths = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for path in paths:
        save_weights(path, some_tensors(), info)
    assert len({path.read_bytes() for path in paths}) == 1
    assert load_weights(paths[0])[1] == info


def test_a_network_with_tied_weights_can_be_saved(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    save_weights(tmp_path / "w.safetensors", model.state_dict(), INFO)
    tensors, _ = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(tensors["1.weight"], model[0].weight)


def test_a_run_folder_stands_for_its_best_weights(weights):
    run_dir = weights.parent
    assert load_weights(run_dir)[1].step == 4000
    save_weights(run_dir / "weights_best.safetensors", {}, INFO.model_copy(update={"step": 3000}))
    assert load_weights(run_dir)[1].step == 3000
    assert load_weights_info(run_dir).step == 3000


def test_a_folder_without_weights_does_not_hide_shipped_ones(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circles").mkdir()
    shipped = list_shipped_weights()["circles"]
    assert find_weights("circles") == find_pretrained("circles") == shipped
    weights.rename(tmp_path / "circles" / weights.name)
    assert find_weights("circles") == Path("circles", weights.name)
    assert find_file(None) == shipped, "the default of generate"


def test_the_description_is_read_without_the_tensors(weights):
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert load_weights_info(weights) == INFO
    assert "damaged" in refusal(weights)


def test_loaded_tensors_do_not_change_with_the_file(weights):
    tensors, _ = load_weights(weights)
    with open(weights, "r+b") as file:
        file.seek(-4096, os.SEEK_END) if weights.stat().st_size > 8192 else file.seek(2048)
        file.write(b"\xff" * 64)
    assert all(same_bits(tensors[name], value) for name, value in some_tensors().items())


# --- bad input ---------------------------------------------------------------------------------


def test_missing_file_and_empty_folder(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.safetensors")
    message = refusal(tmp_path)
    assert "weights_best.safetensors" in message
    assert "weights.safetensors" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"\xff" * 1000,
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        pickle.dumps({"weight": [1.0, 2.0]}),
    ],
    ids=["empty", "gif", "ones", "endless header", "header past the end", "no metadata", "null",
         "deep", "pickle"],
)  # fmt: skip
def test_foreign_bytes(tmp_path, data):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    assert str(path) in refusal(path)


class Trap:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))]
)
def test_a_pickle_is_not_executed(tmp_path, save):
    path = tmp_path / "weights.safetensors"
    save({"weight": Trap(tmp_path / "mark")}, path)
    assert "not a readable safetensors file" in refusal(path)
    assert not (tmp_path / "mark").exists()


def rewrite(path: Path, **changes: str | None) -> None:
    """Change the text fields of a weights file and keep its tensors."""
    header_size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    metadata = json.loads(path.read_bytes()[8 : 8 + header_size])["__metadata__"] | changes
    kept = {key: value for key, value in metadata.items() if value is not None}
    save_file({name: t.clone() for name, t in load_file(path).items()}, path, kept)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"format": None}, "not written by t2vgan"),
        ({"format": "pt"}, "not written by t2vgan"),
        ({"format_version": "2"}, "format version '2', but this t2vgan reads '1'"),
        ({"format_version": None}, "format version None"),
        ({"info": None}, "bad description"),
        ({"info": "[]"}, "bad description"),
        ({"info": "{}"}, "model: Field required"),
        ({"info": INFO.model_dump_json().replace('"clip_gan"', '"os.system"')}, "os.system"),
        ({"info": INFO.model_dump_json().replace('"height":64', '"height":-64')}, "height=-64"),
        ({"info": INFO.model_dump_json().replace("12.5", "NaN")}, "fps"),
        (
            {"info": INFO.model_dump_json().replace('"patch_size":4', '"patch_size":17')},
            "patch_size=17: must be less than or equal to 16",
        ),
        ({"info": INFO.model_dump_json().replace('"step":4000', '"step":4001')}, "damaged"),
        ({"sha256": None}, "damaged"),
    ],
)
def test_wrong_metadata(weights, changes, answer):
    rewrite(weights, **changes)
    assert answer in refusal(weights)


def test_a_changed_tensor_name_is_noticed(weights):
    data = weights.read_bytes()
    assert data.count(b'"half"') == 1
    weights.write_bytes(data.replace(b'"half"', b'"hslf"'))
    assert "damaged" in refusal(weights)


SOUND = {}


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(tmp_path_factory, position, bit):
    if not SOUND:
        path = tmp_path_factory.mktemp("flipped") / "weights.safetensors"
        save_weights(path, {"weight": torch.arange(40.0)}, INFO)
        SOUND.update(path=path, data=path.read_bytes())
    data = bytearray(SOUND["data"])
    data[int(position * len(data))] ^= 1 << bit
    SOUND["path"].write_bytes(data)
    refusal(SOUND["path"])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_no_truncation_passes(weights, share):
    data = weights.read_bytes()
    weights.write_bytes(data[: int(share * len(data))])
    refusal(weights)


# --- disks that refuse -------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_weights(small_disk):
    path = small_disk / "weights.safetensors"
    save_weights(path, {"weight": torch.ones(10)}, INFO)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_weights(path, {"weight": torch.zeros(1_000_000)}, INFO)
    assert caught.value.errno == errno.ENOSPC
    assert torch.equal(load_weights(path)[0]["weight"], torch.ones(10))
    assert [file.name for file in small_disk.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("I/O error: disk full (os error 28)", errno.ENOSPC, "No space left on device"),
        ("it broke", errno.EIO, "it broke"),
    ],
)
def test_errors_of_the_library_are_those_of_the_system(tmp_path, monkeypatch, text, number, reason):
    def fail(*arguments, **options):
        raise SafetensorError(text)

    monkeypatch.setattr(tensor_files, "save_file", fail)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (what it says is checked below)
        save_weights(tmp_path / "w.safetensors", some_tensors(), INFO)
    assert (caught.value.errno, caught.value.strerror) == (number, reason)


def test_a_folder_in_the_way_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        save_weights(tmp_path / "file" / "weights.safetensors", {}, INFO)


def test_weights_larger_than_the_memory_are_refused(weights):
    os.truncate(weights, read_memory_size() + 1)  # a hole: it takes no space
    assert "do not fit into" in refusal(weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_hold_no_numbers_are_refused(tmp_path, value):
    tensors = some_tensors()
    tensors["half"][1, 2] = value
    save_weights(tmp_path / "w.safetensors", tensors, INFO)
    assert "tensor half holds NaN or infinity" in refusal(tmp_path / "w.safetensors")
