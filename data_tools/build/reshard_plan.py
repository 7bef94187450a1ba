"""Plan which clips of several data sets go into which new shard."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from t2vgan.data.manifest import check_compatible, merge_held_out_prompts
from t2vgan.data.pixel_sums import PixelSums, sum_pixels
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    decode_sample,
    load_manifest,
    parse_captions,
    parse_metadata,
    read_samples,
)
from t2vgan.errors import UserError
from t2vgan.utils.seeds import permutation

from ..videos.judging import SeenClips
from .protocol import (
    BuildHeader,
    BuildStopped,
    BuiltShard,
    ShouldStop,
    build_shard,
)


@dataclass(frozen=True)
class Selection:
    """The rules by which clips are kept or repeated."""

    weights: tuple[float, ...]
    match: str
    min_motion: float
    drop_duplicates: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Pick:
    """One clip: its shard, numbered over all data sets, and its place."""

    shard: int
    sample: int


@dataclass(frozen=True)
class ReshardPlan:
    """A build of existing clips."""

    manifests: tuple[Manifest, ...]
    shards: tuple[Path, ...]
    picks: tuple[tuple[Pick, ...], ...]
    """The chosen clips of each data set, in the order of that data set."""
    selection: Selection
    clips_per_shard: int
    faults: Sequence[str] = ()
    """Unusable samples, with reasons."""
    unit = "clips"

    @cached_property
    def header(self) -> BuildHeader:
        """The header of the build."""
        first = self.manifests[0]
        sizes = [len(picks) for picks in self.picks]
        return BuildHeader(
            builder="reshard",
            builder_version="2",
            builder_config={
                **asdict(self.selection),
                "weights": list(self.selection.weights),
                "clips_per_shard": self.clips_per_shard,
                "data_sets": [manifest.fingerprint for manifest in self.manifests],
            },
            geometry=first.geometry,
            fps=first.fps,
            num_shards=min(-(-sum(sizes) // self.clips_per_shard), max(sizes)),  # none is empty
            held_out_prompts=merge_held_out_prompts(self.manifests),
            prompt_order=tuple(dict.fromkeys(p for m in self.manifests for p in m.prompts)),
        )

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"clips-{index:06d}.tar"

    def picks_of(self, index: int) -> list[Pick]:
        """Return a shard's clips: a contiguous share of every data set."""
        num_shards = self.header.num_shards
        found: list[Pick] = []
        for picks in self.picks:
            start = index * len(picks) // num_shards
            found += picks[start : (index + 1) * len(picks) // num_shards]
        return found

    def size_of(self, index: int) -> int:
        """Return the number of clips of a shard."""
        return len(self.picks_of(index))

    def job(self, index: int) -> "MixedShard":
        """Return the job that makes one shard."""
        return MixedShard(
            index,
            self.shard_name(index),
            self.picks_of(index),
            self.shards,
            self.selection.seed,
            self.manifests[0].geometry,
        )


@dataclass(frozen=True)
class MixedShard:
    """The job that makes one shard of chosen clips."""

    index: int
    name: str
    picks: list[Pick]
    shards: tuple[Path, ...]
    seed: int
    geometry: Geometry

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Copy the clips in random order."""
        samples = list(self._samples(should_stop))
        order = permutation(len(samples), self.seed, "reshard", self.index)
        return build_shard(folder / self.name, self.index, (samples[place] for place in order))

    def _samples(self, should_stop: ShouldStop) -> Iterator[EncodedSample]:
        shard, place = -1, 0
        samples: Iterator[EncodedSample] = iter(())
        current: EncodedSample | None = None
        for number, pick in enumerate(self.picks):
            if should_stop():
                raise BuildStopped
            if pick.shard != shard or pick.sample < place - 1:
                samples = read_samples(self.shards[pick.shard], skip=pick.sample)
                shard, place = pick.shard, pick.sample
            while place <= pick.sample:
                current, place = next(samples), place + 1
            assert current is not None
            sums = self._sum_pixels(current)
            yield EncodedSample(f"{self.index:06d}-{number:06d}", current.members, sums)

    def _sum_pixels(self, sample: EncodedSample) -> PixelSums | None:
        try:
            return sum_pixels(decode_sample(sample, self.geometry)[0])
        except ValueError:  # an unusable sample, which the loader replaces
            return None


def choose(folders: Sequence[Path], selection: Selection, clips_per_shard: int) -> ReshardPlan:
    """Choose clips of data sets; raise UserError if none is left."""
    manifests = tuple(map(load_manifest, folders))
    check_compatible(dict(zip(map(str, folders), manifests, strict=True)))
    chooser = Chooser(selection)
    shards: list[Path] = []
    picks = []
    for number, (folder, manifest) in enumerate(zip(folders, manifests, strict=True)):
        first = len(shards)
        shards += [folder / entry.name for entry in manifest.shards]
        kept = list(chooser.select(shards, first, manifest))
        picks.append(tuple(_weighted(kept, selection.weights[number], selection.seed, number)))
    faults = chooser.faults
    if not any(picks):
        bad = f"; {len(faults)} samples cannot be used, such as {faults[0]}" if faults else ""
        raise UserError(f"no clip is left; relax --match, --min-motion or --weights{bad}")
    return ReshardPlan(manifests, tuple(shards), tuple(picks), selection, clips_per_shard, faults)


class Chooser:
    """Filter clips by a selection and collect unusable samples."""

    def __init__(self, selection: Selection):
        self._selection = selection
        self._pattern = re.compile(selection.match)
        self._seen = SeenClips()
        self.faults: list[str] = []

    def select(
        self, shards: list[Path], first: int, manifest: Manifest
    ) -> Iterator[tuple[int, int]]:
        """Yield (shard, place) of each clip to keep, starting at shard `first`."""
        from tqdm import tqdm

        total = manifest.num_samples
        with tqdm(total=total, desc="choosing", unit=" clips", delay=0.5) as progress:
            for shard in range(first, len(shards)):
                for place, sample in enumerate(read_samples(shards[shard])):
                    progress.update()
                    if self._keep(sample, shards[shard]):
                        yield shard, place

    def _keep(self, sample: EncodedSample, path: Path) -> bool:
        selection = self._selection
        try:
            if not any(map(self._pattern.search, parse_captions(sample.members))):
                return False
            if not selection.min_motion and not selection.drop_duplicates:
                return True
            metadata = parse_metadata(sample)
            moving = metadata["motion"] >= selection.min_motion
            return moving and (
                not selection.drop_duplicates or self._seen.is_new(metadata["perceptual_hash"])
            )
        except ValueError as error:
            self.faults.append(f"{path}: sample {sample.key}: {error}")
            return False
        except (KeyError, TypeError):
            raise UserError(
                f"{path}: sample {sample.key} has no `motion` and `perceptual_hash` in its .json; "
                f"only clips made by t2vgan pack can be filtered by them"
            ) from None


def _weighted(kept: list[tuple[int, int]], weight: float, seed: int, number: int) -> Iterator[Pick]:
    """Repeat clips `weight` times; a random choice covers the fraction."""
    whole, rest = divmod(round(weight * len(kept)), len(kept)) if kept else (0, 0)
    drawn = set(permutation(len(kept), seed, "weights", number)[:rest].tolist())
    for place, (shard, sample) in enumerate(kept):
        yield from [Pick(shard, sample)] * (whole + (place in drawn))
