"""Dataset manifest: written last by builders, checked by every reader."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from t2vgan.data.pixel_sums import PixelStatistics, PixelSums, add_sums
from t2vgan.errors import UserError
from t2vgan.media.clips import MAX_CLIP_PIXELS
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.frozen import naming_faults
from t2vgan.utils.untrusted import MAX_JSON_BYTES, JsonError, parse_json, read_bytes

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
DAMAGE_REMEDY = "t2vgan verify lists all damage, t2vgan repair rebuilds damaged shards"

PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MAX_SAMPLES = 100_000_000  # per data set
MAX_BYTES = 1 << 40  # per shard
Count = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]


class Geometry(BaseModel):
    """The size of a clip: frames (num_frames, height, width, 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: Count
    height: Count
    width: Count

    @model_validator(mode="after")
    def check_pixels(self) -> "Geometry":
        if self.num_frames * self.height * self.width > MAX_CLIP_PIXELS:
            raise ValueError(f"a clip must have at most {MAX_CLIP_PIXELS:,} pixels in all frames")
        return self

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of a clip's frames."""
        return self.num_frames, self.height, self.width, 3


class ShardEntry(BaseModel):
    """One shard's name, size and checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PlainName
    num_samples: Count
    num_bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)]
    sha256: Sha256
    pixel_sums: PixelSums | None = None
    """Sums over all clips, before any lossy encoding; earlier versions lack them."""

    def without_sums(self) -> "ShardEntry":
        """Return the entry without pixel sums, as written by earlier versions."""
        return self.model_copy(update={"pixel_sums": None})


class InputCounts(BaseModel):
    """Input rows and failures of a packed dataset; failures.jsonl lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_rows: Count
    failures: dict[str, Count]
    """Reason -> number of rows, or clips of rows, left out for this reason."""


class Manifest(BaseModel):
    """Contents, origin and checksums of a folder of shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    builder: str
    builder_version: str
    builder_config: dict[str, JsonValue]
    builder_fingerprint: Sha256
    geometry: Geometry
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1)]
    prompts: Annotated[dict[str, Count], Field(min_length=1)]
    """Caption -> number of clips that have it; "" counts clips without captions."""
    held_out_prompts: tuple[str, ...] = ()
    input: InputCounts | None = None
    rejected: dict[str, Count] | None = None
    """Reason -> number of the builder's attempts that produced no clip."""
    libraries: dict[str, str] | None = None
    """Versions of the encoding libraries, on the machine that wrote the manifest."""

    @model_validator(mode="after")
    def check_num_samples(self) -> "Manifest":
        if self.num_samples > MAX_SAMPLES:
            raise ValueError(f"a data set must have at most {MAX_SAMPLES:,} samples")
        return self

    @property
    def num_samples(self) -> int:
        """Number of clips in all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def pixel_statistics(self) -> PixelStatistics | None:
        """Mean and std of pixels; None if a shard has no sums."""
        sums = [shard.pixel_sums for shard in self.shards if shard.pixel_sums]
        total = add_sums(sums) if len(sums) == len(self.shards) else None
        return total.statistics() if total else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all but `libraries` and sums: equal fingerprints mean equal shards.

        Equal bytes may come from other versions of the libraries, with or without pixel sums.
        """
        bare = {"libraries": None, "shards": tuple(shard.without_sums() for shard in self.shards)}
        return fingerprint(self.model_copy(update=bare).as_json())

    def as_json(self) -> dict[str, JsonValue]:
        """Return the file's content, without optional fields that are None."""
        optional = ("input", "rejected", "libraries")
        absent = {name for name in optional if getattr(self, name) is None}
        content = self.model_dump(mode="json", exclude=absent)
        for shard in content["shards"]:
            if shard["pixel_sums"] is None:
                del shard["pixel_sums"]
        return content


def fingerprint(value: JsonValue) -> str:
    """Return the SHA-256 of a JSON value's canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_manifest(folder: Path | str) -> Manifest:
    """Read a folder's manifest.

    Raises UserError if it is missing, damaged or of another version.
    """
    path = Path(folder) / MANIFEST_NAME
    if Path(folder).is_file():
        raise UserError(f"data folder {folder} is a file; give the folder of a {MANIFEST_NAME}")
    if not Path(folder).is_dir():
        out = f"--out {shlex.quote(str(folder))}"
        raise UserError(
            f"data folder {folder} does not exist; create it from your own videos with"
            f" `t2vgan pack VIDEOS {out}`, or from a rendered scene with"
            f" `t2vgan build SCENE {out}`"
        )
    try:
        return parse_manifest(read_bytes(path, MAX_JSON_BYTES), str(path))
    except FileNotFoundError:
        raise UserError(
            f"data folder {folder} has no {MANIFEST_NAME}, so it is not a finished data set;"
            " create one in another folder with `t2vgan build` or `t2vgan pack`"
        ) from None


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse a manifest file's content; errors are those of `load_manifest`."""
    try:
        content = parse_json(data)
    except JsonError as error:
        raise UserError(f"{where}: {error}; restore or rebuild it") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{where}: format_version is {version!r}, but this t2vgan reads {FORMAT_VERSION}"
        )
    with naming_faults(where, "restore or rebuild it"):
        return Manifest.model_validate(content)


def write_manifest(folder: Path | str, manifest: Manifest) -> None:
    """Write a folder's manifest atomically."""
    text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)
    atomic_write_bytes(Path(folder) / MANIFEST_NAME, f"{text}\n".encode())


def check_shards(folder: Path | str, manifest: Manifest) -> None:
    """Raise UserError unless every shard exists and has its size."""
    paths = {entry.name: Path(folder) / entry.name for entry in manifest.shards}
    sizes = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    check_sizes(str(folder), sizes, manifest)


def check_sizes(where: str, sizes: Mapping[str, int], manifest: Manifest) -> None:
    """Compare file sizes with the manifest; errors are those of `check_shards`."""
    for entry in manifest.shards:
        if entry.name not in sizes:
            raise UserError(
                f"{where}/{entry.name} is missing; the manifest lists it with"
                f" {entry.num_bytes} bytes; {DAMAGE_REMEDY}"
            )
        if (found := sizes[entry.name]) != entry.num_bytes:
            raise UserError(
                f"{where}/{entry.name}: expected {entry.num_bytes} bytes, found {found};"
                f" {DAMAGE_REMEDY}"
            )


def check_compatible(manifests: Mapping[str, Manifest]) -> None:
    """Raise UserError if clips differ in size, length or frame rate."""
    (first_path, first), *others = manifests.items()
    for path, manifest in others:
        if format_clips(manifest) != format_clips(first):
            raise UserError(
                f"{first_path} has clips of {format_clips(first)}, but {path} has clips of"
                f" {format_clips(manifest)}; data sets that are used together must agree: pack one"
                " of them again with the size, length and fps of the other"
            )


def format_clips(manifest: Manifest) -> str:
    geometry = manifest.geometry
    return f"{geometry.num_frames} x {geometry.height} x {geometry.width} at {manifest.fps:g} fps"


def merge_held_out_prompts(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Return prompts that a dataset holds out and none trains on."""
    held_out = dict.fromkeys(p for manifest in manifests for p in manifest.held_out_prompts)
    trained = {prompt for manifest in manifests for prompt in manifest.prompts}
    return tuple(prompt for prompt in held_out if prompt not in trained)
