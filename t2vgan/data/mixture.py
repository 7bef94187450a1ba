"""Training data: one dataset, or several mixed by weight."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from pydantic import JsonValue

from t2vgan.config import DataConfig, parse_mix
from t2vgan.data.captions import NO_CAPTION
from t2vgan.data.dataset import ShardedDataset, open_dataset
from t2vgan.data.manifest import Manifest, check_compatible, fingerprint, merge_held_out_prompts
from t2vgan.data.pixel_sums import PixelStatistics, add_sums, mix_statistics, sum_pixels
from t2vgan.data.sampler import MixtureSampler, StreamSampler, compute_slots
from t2vgan.data.shard_cache import ShardCache
from t2vgan.data.shards import ShardError, decode_sample, iter_shard_samples
from t2vgan.errors import UserError
from t2vgan.tokenizer import has_words
from t2vgan.utils.seeds import derive_seed
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES
from t2vgan.utils.urls import redact_url

MEASURED_CLIPS, MEASURED_SHARDS = 256, 8  # about a second of decoding
INDEX_ANEW = (
    "remove manifest.json and write it again with `t2vgan index`, which leaves"
    " out clips whose captions have no words"
)


@dataclass(frozen=True)
class DatasetMixture:
    """Datasets, the slots of each per round, and their combined manifest."""

    parts: tuple[ShardedDataset, ...]
    slots: tuple[int, ...]
    manifest: Manifest

    @property
    def prompt_frequencies(self) -> dict[str, float]:
        """Prompt -> its share of the clips shown."""
        frequencies: dict[str, float] = {}
        for part, slots in zip(self.parts, self.slots, strict=True):
            weight = slots / sum(self.slots) / sum(part.manifest.prompts.values())
            for prompt, count in part.manifest.prompts.items():
                frequencies[prompt] = frequencies.get(prompt, 0.0) + weight * count
        return frequencies

    @property
    def pixel_statistics(self) -> PixelStatistics | None:
        """Mean and std of the pixels; None if a manifest has none."""
        parts = [part.manifest.pixel_statistics for part in self.parts]
        known = [part for part in parts if part]
        return mix_statistics(known, self.slots) if len(known) == len(parts) else None

    @property
    def fewest_shards(self) -> int:
        """Smallest number of shards of a dataset, which limits the streams."""
        return min(len(part.manifest.shards) for part in self.parts)

    def measure_pixels(self) -> PixelStatistics:
        """Measure mean and std of a few clips.

        This is for datasets of versions without pixel sums. Up to MEASURED_CLIPS clips of each are
        decoded, from evenly spaced shards, always the same ones.

        Raises:
            UserError: no clip of a dataset can be read.
        """
        return mix_statistics([_measure(part) for part in self.parts], self.slots)

    def create_sampler(self, *, num_streams: int, shuffle_window: int, seed: int) -> MixtureSampler:
        """Create the sampler; a single dataset keeps its own order.

        Raises UserError if a dataset has fewer samples than there are streams.
        """
        is_single = len(self.parts) == 1
        samplers = (
            StreamSampler(
                counts=tuple(shard.num_samples for shard in part.manifest.shards),
                num_streams=num_streams,
                shuffle_window=shuffle_window,
                seed=seed if is_single else derive_seed(seed, "data set", number),
            )
            for number, part in enumerate(self.parts)
        )
        return MixtureSampler(tuple(samplers), self.slots, seed)

    def describe_epochs(self, *, num_streams: int, global_batch_size: int) -> list[str]:
        """Describe clips that epochs leave out or batches repeat, as lines."""
        lines = []
        for number, part in enumerate(self.parts):
            num_clips = part.manifest.num_samples
            whose = f"data set {number + 1}: " if len(self.parts) > 1 else ""
            if left_out := num_clips % num_streams:
                lines.append(
                    f"{whose}{left_out} of {num_clips:,} clips are left out of each epoch,"
                    f" different ones each time: data.num_streams={num_streams} does not divide"
                    f" {num_clips}"
                )
            if num_clips < global_batch_size:
                lines.append(
                    f"{whose}{num_clips:,} clips are fewer than"
                    f" train.global_batch_size={global_batch_size}, so a batch may show some twice"
                )
        return lines


def _measure(dataset: ShardedDataset) -> PixelStatistics:
    """Measure the first clips of some of a dataset's shards."""
    num_shards, geometry = len(dataset.manifest.shards), dataset.manifest.geometry
    sums = []
    for shard in sorted(
        {num_shards * place // MEASURED_SHARDS for place in range(MEASURED_SHARDS)}
    ):
        path = dataset.shard_path(shard)
        with suppress(UserError, OSError, ShardError):  # damage is counted during training
            samples = iter_shard_samples(dataset.open(shard, verify=False), path)
            for sample in islice(samples, MEASURED_CLIPS // MEASURED_SHARDS):
                with suppress(ValueError):
                    sums.append(sum_pixels(decode_sample(sample, geometry)[0]))
    if (total := add_sums(sums)) is None:
        raise UserError(
            f"{dataset.shard_path(0)}: no clip of this data set can be read to measure the mean and"
            " std of its pixels; run `t2vgan verify`"
        )
    return total.statistics()


def open_data(data: DataConfig) -> DatasetMixture:
    """Open the datasets of a configuration.

    Raises UserError if a dataset is damaged, two are incompatible, or a prompt has no words.
    """
    weights = parse_mix(data.mix) or {data.path: Decimal(1)}
    cache = ShardCache(data.cache_path, data.cache_gigabytes)
    mixture = mix_datasets(
        {redact_url(path): (open_dataset(path, cache), weight) for path, weight in weights.items()}
    )
    check_manifest_prompts(mixture.manifest, data.name)
    return mixture


def check_manifest_prompts(manifest: Manifest, name: str) -> None:
    """Raise UserError if a prompt has no words or is too long."""
    captions = (prompt for prompt in manifest.prompts if prompt != NO_CAPTION)
    for prompt in (*captions, *manifest.held_out_prompts):
        if not has_words(prompt):
            raise UserError(f"{name}: the manifest's prompt {prompt!r} has no words; {INDEX_ANEW}")
        if len(prompt) > MAX_CAPTION_BYTES:
            raise UserError(
                f"{name}: the manifest's prompt {prompt[:40]!r}... has {len(prompt)} characters, "
                f"more than the limit of {MAX_CAPTION_BYTES}; {INDEX_ANEW}"
            )


def single_dataset(dataset: ShardedDataset) -> DatasetMixture:
    """Wrap one dataset as a mixture, with its own order and manifest."""
    return DatasetMixture((dataset,), (1,), dataset.manifest)


def mix_datasets(datasets: Mapping[str, tuple[ShardedDataset, Decimal]]) -> DatasetMixture:
    """Mix datasets by weight; `datasets` is keyed by path, for error messages."""
    parts = tuple(dataset for dataset, _ in datasets.values())
    if len(parts) == 1:
        return single_dataset(parts[0])
    check_compatible({path: dataset.manifest for path, (dataset, _) in datasets.items()})
    slots = compute_slots([weight for _, weight in datasets.values()])
    return DatasetMixture(parts, slots, combine_manifests([p.manifest for p in parts], slots))


def combine_manifests(manifests: Sequence[Manifest], slots: Sequence[int]) -> Manifest:
    """Combine the manifests of datasets that are mixed in these proportions."""
    counts: Counter[str] = Counter()
    for manifest in manifests:
        counts.update(manifest.prompts)
    config: dict[str, JsonValue] = {
        "parts": [[m.fingerprint, n] for m, n in zip(manifests, slots, strict=True)]
    }
    return Manifest(
        builder="mixture",
        builder_version="1",
        builder_config=config,
        builder_fingerprint=fingerprint(config),
        geometry=manifests[0].geometry,
        fps=manifests[0].fps,
        shards=tuple(shard for manifest in manifests for shard in manifest.shards),
        prompts=dict(counts),
        held_out_prompts=merge_held_out_prompts(manifests),
    )
