"""Read what commands left: metrics, tensors, shards and videos, as plain JSON to compare."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence
from safetensors import safe_open
from safetensors.numpy import load_file

Json = Any  # what json.loads returns

CLOCKS = (
    *(
        "seconds",
        "wall_time",
        "clips_per_second",
        "safety_seconds",
        "waiting_seconds",
        "writing_seconds",
    ),
    *("memory_gb", "rank_skew", "slowest_rank", "untracked_records"),
)
"""Of time and machine, not of training."""
KINDS = ("train", "evaluation")
LIBRARIES = (
    "torch", "numpy", "opencv-python-headless", "pillow", "safetensors", "webdataset", "av",
)  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def without(fields: Json, *names: str) -> Json:
    return {name: value for name, value in fields.items() if name not in names}


# --- training ----------------------------------------------------------------------------------


def outcome(run_dir: Path) -> Json:
    """Return all that a finished run made that is not of its clock."""
    checkpoint = max((run_dir / "checkpoints").glob("step_*"))
    files = [run_dir / "weights.safetensors", *sorted(checkpoint.glob("*.safetensors"))]
    state = json.loads((checkpoint / "state.json").read_text())
    return {
        "metrics": metrics(run_dir),
        "weights_info": weights_info(run_dir / "weights.safetensors"),
        "checkpoint": checkpoint.name,
        "state": without(state, *CLOCKS, "data_fingerprint"),  # the latter is of the files' bytes
        "tensors": {path.stem: tensors(path) for path in files},
    }


def metrics(run_dir: Path) -> list[Json]:
    """Return the records of training and evaluation, their clocks left out."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [without(record, *CLOCKS) for record in records if record["kind"] in KINDS]


def curve(run_dir: Path) -> dict[str, list[float]]:
    """Return both losses of every record of training."""
    found = [record for record in metrics(run_dir) if record["kind"] == "train"]
    names = ("loss/discriminator", "loss/generator")
    return {name: [record[name] for record in found] for name in names}


def weights_info(path: Path) -> Json:
    """Return what a weights file says of itself, besides origin, tokenizer and checksums."""
    with safe_open(path, framework="numpy") as file:
        fields = file.metadata()
    info = json.loads(fields["info"])
    return without(fields, "sha256", "info") | {
        "info": without(info, "t2vgan_version", "tokenizer")
    }


def tensors(path: Path) -> dict[str, Json]:
    """Return of each tensor of a file its SHA-256, its sum and the sum of its sizes."""
    return {name: describe_tensor(array) for name, array in sorted(load_file(path).items())}


def describe_tensor(array: np.ndarray) -> Json:
    header = f"{array.dtype} {array.shape} ".encode()
    wide = array.astype(np.float64)
    digest = sha256(header + np.ascontiguousarray(array).tobytes())
    return [digest, float(wide.sum()), float(np.abs(wide).sum())]


# --- shards ------------------------------------------------------------------------------------


def shard_content(folder: Path) -> Json:
    """Return what a data set shows, however its files are written."""
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [shard["name"] for shard in manifest["shards"]]
    sizes = [[shard["name"], shard["num_samples"]] for shard in manifest["shards"]]
    described = without(manifest, "shards", "builder_fingerprint", "libraries") | {"shards": sizes}
    samples = {key: sample for name in names for key, sample in read_samples(folder / name)}
    content = {"manifest": sha256(json.dumps(described).encode()), "samples": samples}
    return {"content": sha256(json.dumps(content).encode()), **content}


def read_samples(path: Path) -> Iterator[tuple[str, Json]]:
    """Yield each sample's key with its prompt and the SHA-256 of its frames and its metadata."""
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None, f"{member.name} is no file"
            key, _, extension = member.name.partition(".")
            members.setdefault(key, {})[extension] = file.read()
    for key, parts in members.items():
        assert set(parts) == {"webp", "txt", "json"}, f"{path.name} {key}: {sorted(parts)}"
        strip = np.asarray(Image.open(io.BytesIO(parts["webp"])).convert("RGB"))
        metadata = json.dumps(json.loads(parts["json"]))
        yield (
            key,
            [parts["txt"].decode(), sha256_of_array(strip), sha256(metadata.encode())],
        )


def sha256_of_array(array: np.ndarray) -> str:
    return sha256(f"{array.shape} ".encode() + np.ascontiguousarray(array).tobytes())


def file_hashes(folder: Path) -> dict[str, str]:
    """Return file name -> SHA-256 of its bytes."""
    return {path.name: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}


# --- videos ------------------------------------------------------------------------------------


def gif_frames(path: Path) -> np.ndarray:
    """Return an animation's frames, (T, H, W, 3)."""
    with Image.open(path) as image:
        return np.stack([frame.convert("RGB") for frame in ImageSequence.Iterator(image)])


def gif_delays(path: Path) -> list[int]:
    with Image.open(path) as image:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(image)]


# --- the machine -------------------------------------------------------------------------------


def made_with() -> Json:
    """Return the versions of libraries and the processor's name, for readers and comparisons."""
    versions = {name: version_of(name) for name in LIBRARIES}
    return {
        "versions": versions | {"python": platform.python_version()},
        "processor": processor(),
    }


def version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # opencv comes under several names
        return None


def processor() -> str:
    """Return the vendor, model and number of this machine's processor."""
    wanted = ("vendor_id", "model name", "cpu family", "model", "stepping")
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    pairs = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return ", ".join(found[name] for name in wanted if name in found)


# --- files that people can compare ---------------------------------------------------------------


def write_json(path: Path, value: Json) -> None:
    """Write JSON with a line for each thing that has no things in it."""
    path.write_text(f"{to_text(value)}\n")


def to_text(value: Json, indent: str = "") -> str:
    deeper = indent + " "
    if isinstance(value, dict) and value:
        items = [f"{json.dumps(k)}: {to_text(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(deeper + item for item in items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(deeper + to_text(v, deeper) for v in value) + f"\n{indent}]"
    return json.dumps(value)
