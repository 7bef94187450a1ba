"""What a run reads: one data set, or several mixed by weight."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import JsonValue

from t2vgan.config import DataConfig, parse_mix
from t2vgan.data.dataset import ShardedDataset, open_data_set
from t2vgan.data.manifest import Manifest, check_alike, fingerprint, held_out_together
from t2vgan.data.mixture_sampler import MixtureSampler, slots_of
from t2vgan.data.sampler import StreamSampler
from t2vgan.data.shard_cache import ShardCache
from t2vgan.errors import UserError
from t2vgan.tokenizer import has_words
from t2vgan.utils.seeds import derive_seed

INDEX_ANEW = (
    "remove manifest.json and write it anew with `python -m data_tools.index_shards`, which leaves"
    " out clips whose captions have no words"
)


@dataclass(frozen=True)
class DatasetMixture:
    """Data sets, the places of each in a round of the mixed order, and what they are together."""

    parts: tuple[ShardedDataset, ...]
    slots: tuple[int, ...]
    manifest: Manifest

    def order(self, *, num_streams: int, shuffle_window: int, seed: int) -> MixtureSampler:
        """Return the order of the data; of one data set alone, its own.

        Raises UserError when a data set has too few shards for the streams.
        """
        alone = len(self.parts) == 1
        orders = (
            StreamSampler(
                counts=tuple(shard.num_samples for shard in part.manifest.shards),
                num_streams=num_streams,
                shuffle_window=shuffle_window,
                seed=seed if alone else derive_seed(seed, "data set", number),
            )
            for number, part in enumerate(self.parts)
        )
        return MixtureSampler(tuple(orders), self.slots, seed)


def open_data(data: DataConfig) -> DatasetMixture:
    """Open all that a run reads.

    Raises UserError when a data set is not as it should, when two do not fit each other, and when
    there is a prompt that nobody can read.
    """
    weights = parse_mix(data.mix) or {data.path: Decimal(1)}
    cache = ShardCache(data.cache_path, data.cache_gigabytes)
    mixture = mix({path: (open_data_set(path, cache), weight) for path, weight in weights.items()})
    check_words(mixture.manifest, data.name)
    return mixture


def check_words(manifest: Manifest, name: str) -> None:
    """Raise UserError unless there are prompts, and each has words."""
    if not manifest.prompts:
        raise UserError(f"{name}: the manifest counts no prompts; {INDEX_ANEW}")
    for prompt in (*manifest.prompts, *manifest.held_out_prompts):
        if not has_words(prompt):
            raise UserError(f"{name}: the manifest's prompt {prompt!r} has no words; {INDEX_ANEW}")


def alone(data_set: ShardedDataset) -> DatasetMixture:
    """Return the mixture of a single data set: its own order, its own manifest."""
    return DatasetMixture((data_set,), (1,), data_set.manifest)


def mix(data_sets: Mapping[str, tuple[ShardedDataset, Decimal]]) -> DatasetMixture:
    """Mix data sets by weight; `data_sets` has their paths, for people."""
    parts = tuple(data_set for data_set, _ in data_sets.values())
    if len(parts) == 1:
        return alone(parts[0])
    check_alike({path: data_set.manifest for path, (data_set, _) in data_sets.items()})
    slots = slots_of([weight for _, weight in data_sets.values()])
    return DatasetMixture(parts, slots, join([part.manifest for part in parts], slots))


def join(manifests: Sequence[Manifest], slots: Sequence[int]) -> Manifest:
    """Return what several data sets are together, in these shares."""
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
        held_out_prompts=held_out_together(manifests),
    )
