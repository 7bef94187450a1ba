"""The manifest: what a folder of shards holds, written last, verified by every reader."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from t2vgan.errors import UserError
from t2vgan.utils.files import atomic_write_bytes

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"

PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]


class Geometry(BaseModel):
    """The size of a clip: frames (num_frames, height, width, 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: Count
    height: Count
    width: Count

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of a clip's frames."""
        return self.num_frames, self.height, self.width, 3


class ShardEntry(BaseModel):
    """One shard as the manifest knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PlainName
    num_samples: Count
    num_bytes: Count
    sha256: Sha256


class InputCounts(BaseModel):
    """What became of the list that a data set was packed from; failures.jsonl has the rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_rows: Count
    failures: dict[str, Count]
    """Reason -> rows, or clips of rows, that were left out for it."""


class Manifest(BaseModel):
    """A folder of shards: what is in it, what made it, and how to prove that it is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    builder: str
    builder_version: str
    builder_config: dict[str, JsonValue]
    builder_fingerprint: Sha256
    geometry: Geometry
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1)]
    prompts: dict[str, Count]
    held_out_prompts: tuple[str, ...] = ()
    input: InputCounts | None = None

    @property
    def num_samples(self) -> int:
        """The number of clips over all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the whole manifest: two folders with the same one hold the same bytes."""
        return fingerprint(self.as_json())

    def as_json(self) -> dict[str, JsonValue]:
        """Return the manifest as it is written: without `input` where there was none."""
        return self.model_dump(mode="json", exclude=None if self.input else {"input"})


def fingerprint(value: JsonValue) -> str:
    """Return the SHA-256 of a JSON value's canonical text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_manifest(folder: Path | str) -> Manifest:
    """Read a folder's manifest; raise UserError if it is missing, damaged or of another version."""
    path = Path(folder) / MANIFEST_NAME
    if not Path(folder).is_dir():
        command = f"python -m data_tools.build_shards circles --out {shlex.quote(str(folder))}"
        raise UserError(f"data folder {folder} does not exist; build one with `{command}`")
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(
            f"data folder {folder} has no {MANIFEST_NAME}: it is no finished data set;"
            " `python -m data_tools.build_shards` or `pack_videos` makes one in a folder of its own"
        ) from None


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Return the manifest that a file holds; raise UserError as `load_manifest`."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({error}); restore or rebuild it") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{where}: format_version is {version!r}, this program reads {FORMAT_VERSION}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {field}: {first['msg']}; restore or rebuild it") from None


def write_manifest(folder: Path | str, manifest: Manifest) -> None:
    """Write a folder's manifest, whole or not at all."""
    text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)
    atomic_write_bytes(Path(folder) / MANIFEST_NAME, f"{text}\n".encode())


def check_shards(folder: Path | str, manifest: Manifest) -> None:
    """Check that every shard exists with its size in bytes; UserError names one that does not."""
    paths = {entry.name: Path(folder) / entry.name for entry in manifest.shards}
    sizes = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    check_sizes(str(folder), sizes, manifest)


def check_sizes(where: str, sizes: Mapping[str, int], manifest: Manifest) -> None:
    """Check the sizes of the files that a folder has; UserError as `check_shards`."""
    for entry in manifest.shards:
        if entry.name not in sizes:
            raise UserError(
                f"{where}/{entry.name} is missing; the manifest lists it with"
                f" {entry.num_bytes} bytes"
            )
        if (found := sizes[entry.name]) != entry.num_bytes:
            raise UserError(
                f"{where}/{entry.name}: expected {entry.num_bytes} bytes, found {found}"
            )


def check_alike(manifests: Mapping[str, Manifest]) -> None:
    """Raise UserError naming two data sets whose clips differ in size, length or rate."""
    (first_path, first), *others = manifests.items()
    for path, manifest in others:
        if describe_clips(manifest) != describe_clips(first):
            raise UserError(
                f"{first_path} has clips of {describe_clips(first)}, {path} of"
                f" {describe_clips(manifest)}; data sets to mix need the same: pack one of them"
                " again in the other's size and fps"
            )


def describe_clips(manifest: Manifest) -> str:
    geometry = manifest.geometry
    return f"{geometry.num_frames} x {geometry.height} x {geometry.width} at {manifest.fps:g} fps"


def held_out_together(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Return the prompts that one data set or another holds out and none trains on."""
    held_out = dict.fromkeys(p for manifest in manifests for p in manifest.held_out_prompts)
    trained = {prompt for manifest in manifests for prompt in manifest.prompts}
    return tuple(prompt for prompt in held_out if prompt not in trained)
