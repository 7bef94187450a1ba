"""The sample format, shared by the builders and the loader.

A shard is a tar of samples: `{key}.webp` or `.jpg` (one film strip) or `.mp4`, `{key}.txt` (the
prompt, UTF-8) and `{key}.json` (metadata), the members of a sample one after the other.
`manifest.json` lists the shards. Any webdataset reader can open them. Torch is never imported here.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from pydantic import JsonValue

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
from t2vgan.data.tar import READ_BUFFER_BYTES, ShardError, read_members, write_members
from t2vgan.tokenizer import has_words
from t2vgan.utils.files import atomic_path, sha256_of

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
    "encode_sample",
    "encode_strip",
    "fingerprint",
    "load_manifest",
    "metadata_of",
    "prompt_of",
    "read_samples",
    "samples_of",
    "write_manifest",
    "write_shard",
]

METADATA_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
Storage = Literal["strip-webp", "strip-jpg", "mp4"]
MOVIE_EXTENSION = "mp4"
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """One sample as it lies in a shard: extension -> bytes ("webp", "txt", "json")."""

    key: str
    members: dict[str, bytes]


def encode_sample(
    key: str,
    frames: np.ndarray,
    prompt: str,
    metadata: Mapping[str, JsonValue],
    *,
    storage: Storage = "strip-webp",
    quality: int = 95,
) -> EncodedSample:
    """Encode one clip: frames (T, H, W, 3) uint8 RGB, its prompt, and JSON metadata.

    A WebP strip is lossless; `quality` (1 to 100) is that of the others.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(f"key {key!r} may only hold letters, digits, '_' and '-', 1 to 80 of them")
    if not has_words(prompt):
        raise ValueError(f"sample {key}: the prompt has no words")
    text = METADATA_ENCODER.encode(metadata)
    extension, data = _encode_frames(frames, storage, quality, metadata.get("fps"))
    members = {extension: data, "txt": prompt.encode(), "json": text.encode()}
    return EncodedSample(key, members)


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
    """Turn a JPEG-like quality into x264's scale, where 0 is lossless and 51 the worst."""
    return round(51 * (1 - quality / 100) ** 0.7)


def decode_sample(
    sample: EncodedSample, geometry: Geometry, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Decode one clip into frames (T, H, W, 3) uint8 RGB and its prompt; `out` as in decode_strip.

    Raises ValueError with the reason: no prompt, one without words or not in UTF-8, neither strip
    nor film, an undecodable one, or one of another geometry.
    """
    members, prompt = sample.members, prompt_of(sample)
    strip = next((members[e] for e in EXTENSIONS if e in members), None)
    if strip is not None:
        return decode_strip(strip, geometry, out=out), prompt
    if MOVIE_EXTENSION in members:
        frames = _decode_movie(members[MOVIE_EXTENSION], geometry)
        if out is not None:
            out[...] = frames
        return frames, prompt
    raise ValueError(f"no film strip (a member of type {', '.join(EXTENSIONS)}) and no .mp4")


def _decode_movie(data: bytes, geometry: Geometry) -> np.ndarray:
    from t2vgan.media.movies import decode_clip

    shape = (geometry.num_frames, geometry.height, geometry.width, 3)
    return decode_clip(data, "mp4", shape)


def prompt_of(sample: EncodedSample) -> str:
    """Return a sample's prompt; ValueError if it is missing, without words, or not UTF-8."""
    if "txt" not in sample.members:
        raise ValueError("no prompt (a .txt member)")
    try:
        prompt = sample.members["txt"].decode().strip()
    except UnicodeDecodeError:
        raise ValueError("prompt is not UTF-8") from None
    if not has_words(prompt):
        raise ValueError("prompt has no words")
    return prompt


def metadata_of(sample: EncodedSample) -> dict[str, Any]:
    """Return a sample's metadata; ValueError if its .json member is not a JSON object."""
    try:
        metadata = json.loads(sample.members.get("json", b"{}"))
    except (ValueError, RecursionError):
        raise ValueError("metadata is not JSON") from None
    if not isinstance(metadata, dict):
        raise ValueError("metadata is no JSON object")
    return metadata


def read_samples(path: Path | str, *, skip: int = 0) -> Iterator[EncodedSample]:
    """Yield the samples of a shard on this machine, as `samples_of`."""
    with open(path, "rb", buffering=READ_BUFFER_BYTES) as file:
        yield from samples_of(file, path, skip=skip)


def samples_of(file: BinaryIO, path: Path | str, *, skip: int = 0) -> Iterator[EncodedSample]:
    """Yield a shard's samples in order, the first `skip` passed over without reading their bytes.

    Members belong together while their names agree up to the first dot of the file name, as in
    webdataset; names without a dot belong to no sample. Raises ShardError when the tar is
    damaged, truncated (at a member boundary too) or holds anything but regular files. `path` only
    names the shard in errors; the file is closed in the end.
    """
    key, index = "", -1  # of the sample whose members are being gathered
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
                key, index, members = member_key, index + 1, {}
            if index < skip:
                continue
            extension = extension.lower()
            if extension in members:
                raise ShardError(f"{path}: sample {key!r} has two members of type {extension!r}")
            members[extension] = file.read(member.size)
    if members:
        yield EncodedSample(key, members)


def write_shard(path: Path | str, samples: Iterable[EncodedSample]) -> ShardEntry:
    """Write samples as one tar, whole or not at all, and return its manifest entry.

    The same samples give the same bytes. Raises ValueError when there are none.
    """
    path = Path(path)
    num_samples = 0

    def members() -> Iterator[tuple[str, bytes]]:
        nonlocal num_samples
        for sample in samples:
            num_samples += 1
            for extension, data in sample.members.items():
                yield f"{sample.key}.{extension}", data

    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            write_members(file, members())
        if not num_samples:
            raise ValueError(f"{path.name}: a shard needs at least one sample")
        num_bytes, sha256 = temporary.stat().st_size, sha256_of(temporary)
    return ShardEntry(name=path.name, num_samples=num_samples, num_bytes=num_bytes, sha256=sha256)
