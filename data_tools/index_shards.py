"""Write the manifest of tars that others made: `python -m data_tools.index_shards DIR`."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan import cli
from t2vgan.cli import printable
from t2vgan.errors import UserError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from t2vgan.shards import EncodedSample, Geometry, ShardEntry

MAX_SHOWN = 20


def main() -> None:
    """Index the folder that the command line names."""
    cli.call(index_shards, prog="python -m data_tools.index_shards")


def index_shards(
    folder: Positional[Path],
    num_frames: int | None = None,
    fps: float | None = None,
    max_bad_fraction: float = 0.01,
) -> None:
    """Read every sample once and write manifest.json: tars of mp4, webp, jpg or png + txt.

    All clips must have one size and length; pack_videos makes such clips of raw videos. Samples
    that cannot be used are named, and the loader replaces them.

    Args:
        folder: The folder of tars.
        num_frames: Frames of a clip, where neither a .json nor an .mp4 tells.
        fps: Frames per second, where no .json tells; 10 if nothing does.
        max_bad_fraction: Refuse when more than this share of the samples cannot be used.
    """
    from t2vgan.shards import MANIFEST_NAME, Manifest, fingerprint, write_manifest

    tars = sorted(folder.glob("*.tar"))
    if not tars:
        raise UserError(f"{folder} holds no .tar; give a folder of webdataset tars")
    if (folder / MANIFEST_NAME).exists():
        raise UserError(f"{folder} has a {MANIFEST_NAME} already; remove it to index the tars anew")
    geometry, rate = _look(tars[0], num_frames, fps)
    indexer = Indexer(geometry)
    shards = tuple(indexer.entries(tars))
    indexer.refuse_if_bad(sum(entry.num_samples for entry in shards), max_bad_fraction)
    config: dict[str, JsonValue] = {"num_frames": geometry.num_frames, "fps": rate}
    manifest = Manifest(
        builder="index",
        builder_version="1",
        builder_config=config,
        builder_fingerprint=fingerprint(config),
        geometry=geometry,
        fps=rate,
        shards=shards,
        prompts=dict(sorted(indexer.prompts.items())),
    )
    write_manifest(folder, manifest)
    print(
        f"{folder}: {manifest.num_samples} clips, {len(manifest.prompts)} prompts, "
        f"{len(shards)} shards, {len(indexer.faults)} samples that cannot be used"
    )


class Indexer:
    """Reads shards whole, counts their prompts and notes what is wrong with their samples."""

    def __init__(self, geometry: "Geometry"):
        self._geometry = geometry
        self.prompts: Counter[str] = Counter()
        self.faults: list[str] = []

    def entries(self, tars: list[Path]) -> "Iterator[ShardEntry]":
        """Yield the manifest entry of each tar that holds samples."""
        from tqdm import tqdm

        from t2vgan.files import sha256_of
        from t2vgan.shards import ShardEntry, read_samples

        with tqdm(desc="indexing", unit=" clips", delay=0.5) as progress:
            for path in tars:
                num_samples = 0
                for sample in read_samples(path):
                    num_samples += 1
                    self._look_at(sample, path)
                    progress.update()
                if num_samples:
                    size, digest = path.stat().st_size, sha256_of(path)
                    yield ShardEntry(
                        name=path.name, num_samples=num_samples, num_bytes=size, sha256=digest
                    )

    def refuse_if_bad(self, num_samples: int, max_fraction: float) -> None:
        """Name the samples that cannot be used; raise UserError if they are too many."""
        for fault in self.faults[:MAX_SHOWN]:
            print(printable(fault))
        if len(self.faults) > max_fraction * num_samples or not self.prompts:
            raise UserError(
                f"{len(self.faults)} of {num_samples} samples cannot be used, more than "
                f"--max-bad-fraction {max_fraction:g}; pack_videos makes clips of raw videos"
            )

    def _look_at(self, sample: "EncodedSample", path: Path) -> None:
        from t2vgan.shards import decode_sample

        try:
            _, prompt = decode_sample(sample, self._geometry)
            self.prompts[prompt] += 1
        except ValueError as error:
            self.faults.append(f"{path.name}: sample {sample.key}: {error}")


def _look(path: Path, num_frames: int | None, fps: float | None) -> "tuple[Geometry, float]":
    """Return the geometry and rate of the first sample."""
    from t2vgan.shards import read_samples

    sample = next(iter(read_samples(path)), None)
    if sample is None:
        raise UserError(f"{path} holds no samples")
    try:
        told = json.loads(sample.members.get("json", b"{}"))
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    rate = fps or told.get("fps") or 10.0
    if not isinstance(rate, int | float) or not 0 < rate < 1000:
        raise UserError(f"{path}: fps={rate!r} is no rate; give --fps")
    return _geometry_of(sample, num_frames or told.get("num_frames"), path), float(rate)


def _geometry_of(sample: "EncodedSample", num_frames: object, path: Path) -> "Geometry":
    from t2vgan.shards import Geometry
    from t2vgan.strips import EXTENSIONS, image_size

    strip = next((sample.members[e] for e in EXTENSIONS if e in sample.members), None)
    if strip is None and "mp4" in sample.members:
        from t2vgan.media.movies import decode_movie

        pictures = list(decode_movie(sample.members["mp4"], "mp4"))
        height, width = pictures[0].shape[:2]
        return Geometry(num_frames=len(pictures), height=height, width=width)
    if strip is None:
        raise UserError(f"{path}: its first sample has no .mp4 and no film strip")
    if not isinstance(num_frames, int) or num_frames < 1:
        raise UserError(f"{path}: no .json says num_frames; give --num-frames")
    width, height = image_size(strip)
    if height % num_frames:
        raise UserError(f"{path}: a strip of {height} rows does not hold {num_frames} frames")
    return Geometry(num_frames=num_frames, height=height // num_frames, width=width)


if __name__ == "__main__":
    cli.run(main)
