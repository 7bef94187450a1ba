"""Sample format, shared by the builders and the loader.

A shard is a tar of samples: `{key}.webp` or `.jpg` (one film strip) or `.mp4`, `{key}.txt` (one
caption per line, UTF-8; see captions.py) and `{key}.json` (metadata). The members of a sample are
consecutive. `manifest.json` lists the shards. Any webdataset reader can open them.
"""

import json
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from pydantic import JsonValue

from t2vgan.data.captions import join_captions, parse_captions
from t2vgan.data.film_strip import EXTENSIONS, decode_strip, encode_jpeg_strip, encode_strip
from t2vgan.data.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    Geometry,
    InputCounts,
    Manifest,
    ShardEntry,
    check_shards,
    fingerprint,
    load_manifest,
    write_manifest,
)
from t2vgan.data.pixel_sums import PixelSums, add_sums, sum_pixels
from t2vgan.data.tar import (
    MAX_MEMBER_BYTES,
    READ_BUFFER_BYTES,
    ShardError,
    open_tar_writer,
    read_members,
)
from t2vgan.utils.files import atomic_path, sha256_of
from t2vgan.utils.untrusted import JsonError, open_file, parse_json

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "EncodedSample",
    "Geometry",
    "InputCounts",
    "Manifest",
    "ShardEntry",
    "ShardError",
    "Storage",
    "check_shards",
    "decode_sample",
    "decode_strip",
    "decode_with_captions",
    "encode_sample",
    "encode_strip",
    "fingerprint",
    "iter_shard_samples",
    "library_versions",
    "load_manifest",
    "parse_captions",
    "parse_metadata",
    "read_samples",
    "write_manifest",
    "write_shard",
]

METADATA_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
Storage = Literal["strip-webp", "strip-jpg", "mp4"]
MOVIE_EXTENSION = "mp4"
MAX_SAMPLE_BYTES = MAX_MEMBER_BYTES  # of all members together, which are all held in memory
MAX_SAMPLE_MEMBERS = 100
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """A shard's record: extension ("webp", "txt", "json") -> bytes."""

    key: str
    members: dict[str, bytes]
    pixel_sums: PixelSums | None = None
    """Pixel sums of the frames before encoding; None for a sample read from a shard."""


def encode_sample(
    key: str,
    frames: np.ndarray,
    prompt: str | Sequence[str],
    metadata: Mapping[str, JsonValue],
    *,
    storage: Storage = "strip-webp",
    quality: int = 95,
) -> EncodedSample:
    """Encode one clip with one or several prompts and JSON metadata.

    frames: (T, H, W, 3) uint8 RGB. If there are several captions, training draws one per step, and
    the first is used elsewhere; without captions, (), the clip is trained on without a prompt. A
    WebP strip is lossless; `quality` (1 to 100) applies to the other kinds of storage.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"key {key!r} must be 1 to 80 letters, digits, '_' and '-'")
    try:
        captions = join_captions([prompt] if isinstance(prompt, str) else prompt)
    except ValueError as error:
        raise ValueError(f"sample {key}: {error}") from None
    text = METADATA_ENCODER.encode(metadata)
    extension, data = _encode_frames(frames, storage, quality, metadata.get("fps"))
    members = {extension: data, "txt": captions, "json": text.encode()}
    return EncodedSample(key, members, sum_pixels(frames))


def _encode_frames(
    frames: np.ndarray, storage: Storage, quality: int, fps: JsonValue
) -> tuple[str, bytes]:
    if storage == "strip-webp":
        return "webp", encode_strip(frames)
    if storage == "strip-jpg":
        return "jpg", encode_jpeg_strip(frames, quality)
    from t2vgan.media.movies import encode_movie

    rate = fps if isinstance(fps, int | float) else 10
    return "mp4", encode_movie(frames, format="mp4", fps=rate, crf=_crf(quality))


def _crf(quality: int) -> int:
    """Convert a JPEG-like quality to x264's CRF (0 lossless, 51 worst)."""
    return round(51 * (1 - quality / 100) ** 0.7)


def decode_sample(
    sample: EncodedSample, geometry: Geometry, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Decode one clip: its frames and its first caption.

    Like `decode_with_captions`; the prompt is empty if the clip has no caption.
    """
    frames, captions = decode_with_captions(sample, geometry, out=out)
    return frames, captions[0]


def decode_with_captions(
    sample: EncodedSample, geometry: Geometry, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode one clip: its frames and all its captions (see `parse_captions`).

    The frames are (T, H, W, 3) uint8 RGB; `out` is as in decode_strip. Raises ValueError with the
    reason: there is no prompt, or it has no words, is too long or not UTF-8; or there is neither
    strip nor film, or it cannot be decoded or has another geometry.
    """
    members, captions = sample.members, parse_captions(sample.members)
    strip = next((members[e] for e in EXTENSIONS if e in members), None)
    if strip is not None:
        return decode_strip(strip, geometry, out=out), captions
    if MOVIE_EXTENSION in members:
        frames = _decode_movie(members[MOVIE_EXTENSION], geometry)
        if out is not None:
            out[...] = frames
        return frames, captions
    raise ValueError(f"no film strip (a member of type {', '.join(EXTENSIONS)}) and no .mp4")


def _decode_movie(data: bytes, geometry: Geometry) -> np.ndarray:
    from t2vgan.media.movies import decode_clip

    shape = (geometry.num_frames, geometry.height, geometry.width, 3)
    return decode_clip(data, "mp4", shape)


def parse_metadata(sample: EncodedSample) -> dict[str, Any]:
    """Return a sample's metadata.

    Raises ValueError if the .json member is not a JSON object.
    """
    try:
        metadata = parse_json(sample.members.get("json", b"{}"))
    except JsonError:
        raise ValueError("metadata is not JSON") from None
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not a JSON object")
    return metadata


def read_samples(
    path: Path | str, *, skip: int = 0, name: str | None = None
) -> Iterator[EncodedSample]:
    """Yield the samples of a local shard, like `iter_shard_samples`.

    `name` replaces the path in error messages.
    """
    with open_file(path, buffering=READ_BUFFER_BYTES) as file:
        yield from iter_shard_samples(file, name or path, skip=skip)


def iter_shard_samples(
    file: BinaryIO, path: Path | str, *, skip: int = 0
) -> Iterator[EncodedSample]:
    """Yield an open shard's samples in order, without the first `skip`.

    The bytes of skipped samples are not read. Consecutive members belong to one sample if their
    names agree up to the first dot of the file name, as in webdataset; names without a dot belong
    to no sample. `path` is for error messages; the file is closed at the end. Raises ShardError if
    the tar is damaged, truncated (also at a member boundary) or contains anything but regular
    files, or if a sample has too many members or bytes.
    """
    key, index, num_bytes = "", -1, 0  # of the current sample
    members: dict[str, bytes] = {}
    with file:
        for member in read_members(file, path):
            folder, slash, filename = member.name.rpartition("/")
            stem, _, extension = filename.partition(".")
            if not stem or not extension:
                continue
            if (member_key := folder + slash + stem) != key:
                if members:
                    yield EncodedSample(key, members)
                key, index, num_bytes, members = member_key, index + 1, 0, {}
            if index < skip:
                continue
            num_bytes += member.size
            if num_bytes > MAX_SAMPLE_BYTES or len(members) == MAX_SAMPLE_MEMBERS:
                raise ShardError(
                    f"{path}: sample {key!r} has more than the limit of {MAX_SAMPLE_BYTES} bytes"
                    f" or {MAX_SAMPLE_MEMBERS} members"
                )
            extension = extension.lower()
            if extension in members:
                raise ShardError(f"{path}: sample {key!r} has two members of type {extension!r}")
            members[extension] = file.read(member.size)
    if members:
        yield EncodedSample(key, members)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that encode shards."""
    from PIL import features

    versions = {"python": platform.python_version()}  # its tarfile writes the headers
    for name in ("av", "opencv-python-headless", "pillow", "webdataset"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions | {"libwebp": str(features.version("webp"))}


def write_shard(path: Path | str, samples: Iterable[EncodedSample]) -> ShardEntry:
    """Write samples as one tar, atomically, and return its manifest entry.

    Equal samples give equal bytes, with equal versions of the libraries. Raises ValueError if there
    are no samples.
    """
    path = Path(path)
    num_samples, sums = 0, []
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file, open_tar_writer(file) as writer:
            for sample in samples:
                writer.write({**sample.members, "__key__": sample.key})
                num_samples += 1
                sums += [sample.pixel_sums] if sample.pixel_sums else []
        if not num_samples:
            raise ValueError(f"{path.name}: a shard must have at least one sample")
        num_bytes, sha256 = temporary.stat().st_size, sha256_of(temporary)
    return ShardEntry(
        name=path.name,
        num_samples=num_samples,
        num_bytes=num_bytes,
        sha256=sha256,
        pixel_sums=add_sums(sums),
    )
