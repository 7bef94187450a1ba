"""Write a manifest for existing tars: `python -m data_tools.index_shards DIR`."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli, console
from t2vgan.utils.console import escape_control_chars, print_stdout

if TYPE_CHECKING:
    from pydantic import JsonValue

    from t2vgan.data.pixel_sums import PixelSums
    from t2vgan.data.shards import EncodedSample, Geometry, ShardEntry

MAX_SAMPLES_TRIED = 1000  # to find a usable one


def main() -> None:
    """Run the command."""
    cli.call(index_shards)


def index_shards(
    folder: Positional[Path],
    num_frames: int | None = None,
    fps: float | None = None,
    max_bad_fraction: float = 0.01,
) -> None:
    """Write a manifest.json for tars, reading every sample once.

    A sample is a .mp4, or a film strip as .webp, .jpg or .png, with a .txt. All clips must have the
    same size and length; t2vgan pack makes such clips from raw videos. Unusable samples are listed,
    and the loader replaces them.

    Args:
        folder: The folder of tars.
        num_frames: Frames per clip of film strips; by default from the .json.
        fps: Frames per second; by default from the .json or .mp4, else 10.
        max_bad_fraction: Fail if more than this fraction of the samples is unusable.
    """
    from t2vgan.data.shards import MANIFEST_NAME, Manifest, fingerprint, write_manifest

    tars = find_tars(folder)
    if not tars:
        raise UserError(f"{folder} holds no .tar; give a folder of uncompressed webdataset tars")
    if (folder / MANIFEST_NAME).exists():
        raise UserError(
            f"{folder} already has a {MANIFEST_NAME}; remove it to index the tars again"
        )
    _check_names(tars)
    _check_archives(tars)
    geometry, rate = _detect(tars, num_frames, fps)
    indexer = Indexer(geometry)
    shards = tuple(indexer.entries(tars))
    indexer.check_num_faults(sum(entry.num_samples for entry in shards), max_bad_fraction)
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
    print_stdout(
        f"{folder}: {manifest.num_samples} clips, {len(manifest.prompts)} prompts, "
        f"{len(shards)} shards, {len(indexer.faults)} samples that cannot be used"
    )


def find_tars(folder: Path) -> list[Path]:
    """Return a folder's tars except hidden ones."""
    from .videos.input_list.file_kinds import find_reason_to_ignore

    tars = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".tar")
    reasons = {path: find_reason_to_ignore(path.name) for path in tars}
    console.show_some([f"ignored: {path.name}: {why}" for path, why in reasons.items() if why])
    return [path for path in tars if not reasons[path]]


class Indexer:
    """Read shards, count their prompts and collect unusable samples."""

    def __init__(self, geometry: "Geometry"):
        self._geometry = geometry
        self.prompts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._sums: list[PixelSums] = []  # of the current tar

    def entries(self, tars: list[Path]) -> "Iterator[ShardEntry]":
        """Yield the manifest entry of each tar that holds samples."""
        from tqdm import tqdm

        from t2vgan.data.pixel_sums import add_sums
        from t2vgan.data.shards import ShardEntry, read_samples
        from t2vgan.utils.files import sha256_of

        with tqdm(desc="indexing", unit=" clips", delay=0.5) as progress:
            for path in tars:
                num_samples, self._sums = 0, []
                for sample in read_samples(path):
                    num_samples += 1
                    self._check_sample(sample, path)
                    progress.update()
                if num_samples:
                    size, digest = path.stat().st_size, sha256_of(path)
                    yield ShardEntry(
                        name=path.name,
                        num_samples=num_samples,
                        num_bytes=size,
                        sha256=digest,
                        pixel_sums=add_sums(self._sums),
                    )

    def check_num_faults(self, num_samples: int, max_fraction: float) -> None:
        """Print the unusable samples; raise UserError if they are too many."""
        console.show_some(self.faults)
        if len(self.faults) > max_fraction * num_samples or not self.prompts:
            raise UserError(
                f"{len(self.faults)} of {num_samples} samples cannot be used, more than "
                f"--max-bad-fraction {max_fraction:g}; for raw videos, use t2vgan pack"
            )

    def _check_sample(self, sample: "EncodedSample", path: Path) -> None:
        from t2vgan.data.pixel_sums import sum_pixels
        from t2vgan.data.shards import decode_with_captions

        try:
            frames, captions = decode_with_captions(sample, self._geometry)
            self.prompts.update(captions)
            self._sums.append(sum_pixels(frames))
        except ValueError as error:
            self.faults.append(f"{path.name}: sample {sample.key}: {error}")


def _check_names(tars: list[Path]) -> None:
    """Raise UserError for a name that a manifest may not hold."""
    from pydantic import TypeAdapter, ValidationError

    from t2vgan.data.manifest import PlainName

    for path in tars:
        try:
            TypeAdapter(PlainName).validate_python(path.name)
        except ValidationError:
            raise UserError(
                f"{escape_control_chars(str(path))}: rename it; a shard's name must be at most 200"
                " letters, digits, '.', '_' and '-', and must not begin with '.' or '-'"
            ) from None


def _check_archives(tars: list[Path]) -> None:
    """Raise UserError for tars that the loader cannot read completely."""
    from t2vgan.data.tar import ShardError, check_archive
    from t2vgan.utils.untrusted import open_file

    problems = []
    for path in tars:
        with open_file(path) as file:
            try:
                check_archive(file, path)
            except ShardError as error:
                problems.append(str(error))
    if problems:
        console.show_some(problems[1:])
        raise UserError(
            f"{len(problems)} of {len(tars)} tars cannot be indexed, such as {problems[0]}; repair"
            " or remove them"
        )


def _detect(
    tars: list[Path], num_frames: int | None, fps: float | None
) -> "tuple[Geometry, float]":
    """Return the geometry and frame rate of the first usable sample."""
    from t2vgan.data.shards import decode_sample, read_samples

    samples = ((path, sample) for path in tars for sample in read_samples(path))
    reason = ""
    for path, sample in islice(samples, MAX_SAMPLES_TRIED):
        try:
            metadata = _metadata_of(sample)
            rate = _rate_of(fps or metadata.get("fps") or _rate_of_film(sample) or 10.0)
            geometry = _geometry_of(sample, num_frames or metadata.get("num_frames"))
            decode_sample(sample, geometry)
            return geometry, rate
        except ValueError as error:
            reason = reason or escape_control_chars(f"{path}: sample {sample.key}: {error}")
    raise UserError(reason or f"{tars[0].parent}: the tars hold no samples")


def _metadata_of(sample: "EncodedSample") -> "dict[str, JsonValue]":
    from t2vgan.data.shards import parse_metadata

    try:
        return parse_metadata(sample)
    except ValueError:
        return {}


def _rate_of(fps: object) -> float:
    if not isinstance(fps, int | float) or not 0 < fps < 1000:
        raise ValueError(f"fps={fps!r} must be above 0 and below 1000; give --fps")
    return float(fps)


def _rate_of_film(sample: "EncodedSample") -> float | None:
    from t2vgan.media.movies import read_frame_rate

    if "mp4" not in sample.members:
        return None
    try:
        return read_frame_rate(sample.members["mp4"], "mp4")
    except Exception as error:  # decoders raise a dozen kinds of exception on hostile bytes
        raise ValueError(f"video cannot be decoded ({error})") from None


def _geometry_of(sample: "EncodedSample", num_frames: object) -> "Geometry":
    """Return a sample's geometry, or raise ValueError with the reason."""
    from t2vgan.data.film_strip import EXTENSIONS, image_size
    from t2vgan.data.shards import Geometry
    from t2vgan.media.clips import check_num_pixels

    strip = next((sample.members[e] for e in EXTENSIONS if e in sample.members), None)
    if strip is None and "mp4" in sample.members:
        return _geometry_of_film(sample.members["mp4"])
    if strip is None:
        raise ValueError("it has no .mp4 and no film strip")
    if not isinstance(num_frames, int) or num_frames < 1:
        raise ValueError("no .json gives num_frames; use --num-frames")
    width, height = image_size(strip)
    check_num_pixels(width * height)
    if not width or not height or height % num_frames:
        raise ValueError(f"a strip of {width}x{height} does not hold {num_frames} frames")
    return Geometry(num_frames=num_frames, height=height // num_frames, width=width)


def _geometry_of_film(data: bytes) -> "Geometry":
    from t2vgan.data.shards import Geometry
    from t2vgan.media.clips import limit_pixels
    from t2vgan.media.movies import decode_movie

    num_frames, height, width = 0, 0, 0
    try:
        for picture in limit_pixels(decode_movie(data, "mp4")):
            num_frames += 1
            height, width, _ = picture.shape
    except UserError:
        raise
    except Exception as error:  # decoders raise a dozen kinds of exception on hostile bytes
        raise ValueError(f"video cannot be decoded ({error})") from None
    if not num_frames:
        raise ValueError("video has no frames")
    return Geometry(num_frames=num_frames, height=height, width=width)


if __name__ == "__main__":
    cli.run(main)
