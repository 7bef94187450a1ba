"""Test mixtures: exact shares, elastic and resumable like one dataset."""

from collections import Counter
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from t2vgan.config import DataConfig
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.manifest import Geometry, load_manifest
from t2vgan.data.mixture import DatasetMixture, mix_datasets, open_data
from t2vgan.data.sampler import MixtureSampler, StreamSampler, compute_slots
from t2vgan.data.shards import EncodedSample, encode_sample, write_manifest, write_shard
from t2vgan.errors import UserError
from tests.support.numbered_shards import save_manifest
from tests.support.shards import locate

NUM_STREAMS = 2


def sampler_of(slots: tuple[int, ...], counts: list[list[int]], seed: int) -> MixtureSampler:
    parts = (StreamSampler(tuple(c), NUM_STREAMS, 4, seed + i) for i, c in enumerate(counts))
    return MixtureSampler(tuple(parts), slots, seed)


samplers = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=2, max_size=4)),
    min_size=1,
    max_size=4,
).flatmap(
    lambda parts: st.builds(
        sampler_of,
        slots=st.just(tuple(slots for slots, _ in parts)),
        counts=st.just([counts for _, counts in parts]),
        seed=st.integers(0, 2**40),
    )
)


def places(sampler: MixtureSampler, stream: int, position: int, count: int) -> list[tuple]:
    """Return (part, shard, index) of a stream's samples from `position` on."""
    found, at = [], sampler.part_positions(stream, position)
    for part in islice(sampler.iter_parts(stream, position), count):
        found.append((part, *locate(sampler.parts[part], stream, at[part])))
        at[part] += 1
    return found


@given(sampler=samplers, stream=st.integers(0, NUM_STREAMS - 1), position=st.integers(0, 60))
def test_seeking_equals_reading_on(sampler, stream, position):
    assert (
        places(sampler, stream, position, 12)
        == places(sampler, stream, 0, position + 12)[position:]
    )


@given(sampler=samplers, number=st.integers(0, 20))
def test_every_round_has_exactly_its_shares(sampler, number):
    size = sum(sampler.slots)
    counts = Counter(islice(sampler.iter_parts(0, number * size), size))
    assert tuple(counts[part] for part in range(len(sampler.slots))) == sampler.slots
    assert sampler.part_positions(0, number * size) == [number * slots for slots in sampler.slots]


@given(sampler=samplers)
def test_no_sample_comes_twice_in_an_epoch_of_its_data_set(sampler):
    for part, own in enumerate(sampler.parts):
        seen = []
        for stream in range(NUM_STREAMS):
            drawn = places(sampler, stream, 0, 60)
            seen += [place for place in drawn if place[0] == part][: own.stream_length]
        assert len(seen) == len(set(seen))


def test_rounds_and_streams_differ():
    sampler = sampler_of((3, 3), [[5, 5], [5, 5]], 0)
    rounds = {tuple(islice(sampler.iter_parts(s, 6 * n), 6)) for s in range(2) for n in range(5)}
    assert len(rounds) > 5


@pytest.mark.parametrize(
    ("weights", "slots"),
    [("3 1", (3, 1)), ("0.7 0.3", (7, 3)), ("1 1 1", (1, 1, 1)), ("0.001 1000", (1, 10**6)),
     ("0.25 0.125", (2, 1)), ("5", (1,))],
)  # fmt: skip
def test_weights_become_the_smallest_whole_numbers(weights, slots):
    assert compute_slots([Decimal(weight) for weight in weights.split()]) == slots


# ---- from real shards -------------------------------------------------------------------------


def make_dataset(folder: Path, name: str, num_samples: int, value: int) -> Path:
    """Write two shards of clips of one brightness, with `name` as prompt."""

    def sample(index: int) -> EncodedSample:
        frames = np.full((2, 4, 6, 3), value, dtype=np.uint8)
        return encode_sample(f"{name}{index:03d}", frames, f"a {name}", {})

    half = num_samples // 2
    ranges = (range(half), range(half, num_samples))
    entries = tuple(
        write_shard(folder / name / f"s-{i}.tar", map(sample, numbers))
        for i, numbers in enumerate(ranges)
    )
    manifest = save_manifest(folder / name, entries)
    write_manifest(
        folder / name, manifest.model_copy(update={"prompts": {f"a {name}": num_samples}})
    )
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mix")
    make_dataset(folder, "cat", 21, 10)
    make_dataset(folder, "dog", 8, 20)
    return folder


@pytest.fixture(scope="module")
def mixture(folder) -> DatasetMixture:
    return open_data(DataConfig(mix=(f"{folder}/cat=3", f"{folder}/dog=1")))


def batches(
    mixture: DatasetMixture, count: int, *, start_step: int = 0, world_size: int = 1, **options
):
    sampler = mixture.create_sampler(num_streams=NUM_STREAMS, shuffle_window=4, seed=5)
    parts = []
    for rank in range(world_size):
        with ClipLoader(
            mixture, sampler, global_batch_size=8, rank=rank, world_size=world_size,
            start_step=start_step, **options,
        ) as loader:  # fmt: skip
            parts.append(list(islice(loader, count)))
    return [
        [(*pair, int(frames.max())) for part in step
         for *pair, frames in zip(part.keys, part.prompts, part.frames, strict=True)]
        for step in zip(*parts, strict=True)
    ]  # fmt: skip


def test_a_batch_shows_the_data_sets_in_their_shares(mixture):
    for step in batches(mixture, 6):  # a round of each stream is half a batch
        assert Counter(prompt for _, prompt, _ in step) == {"a cat": 6, "a dog": 2}
        assert {(key[:3], value) for key, _, value in step} == {("cat", 10), ("dog", 20)}


@pytest.mark.parametrize(
    ("start", "options"),
    [(0, {"world_size": 2}), (5, {}), (7, {"world_size": 2, "num_threads": 3})],
)
def test_the_order_is_elastic_and_resumable(mixture, start, options):
    assert batches(mixture, 9 - start, start_step=start, **options) == batches(mixture, 9)[start:]


def test_what_a_mixture_is_together(mixture, folder):
    assert mixture.manifest.prompts == {"a cat": 21, "a dog": 8}
    assert mixture.manifest.num_samples == 29
    other = open_data(DataConfig(mix=(f"{folder}/cat=1", f"{folder}/dog=1")))
    assert other.manifest.fingerprint != mixture.manifest.fingerprint, "another run"
    doubled = open_data(DataConfig(mix=(f"{folder}/cat=1.5", f"{folder}/dog=0.5")))
    assert doubled.manifest.fingerprint == mixture.manifest.fingerprint


def test_prompts_are_as_frequent_as_they_are_shown(mixture):
    assert mixture.prompt_frequencies == pytest.approx({"a cat": 0.75, "a dog": 0.25})
    both = DatasetMixture((mixture.parts[0],) * 2, (1, 2), mixture.manifest)
    assert both.prompt_frequencies == pytest.approx({"a cat": 1.0})


def test_a_mixture_of_one_is_that_data_set(folder):
    one = open_data(DataConfig(mix=(f"{folder}/cat=7",)))
    single = open_data(DataConfig(path=folder / "cat"))
    assert one.manifest == single.manifest
    assert batches(one, 5) == batches(single, 5)


def test_clips_of_another_kind_are_refused(mixture):
    cat = mixture.parts[0]
    longer = cat.manifest.model_copy(update={"geometry": Geometry(num_frames=3, height=4, width=6)})
    faster = cat.manifest.model_copy(update={"fps": 12})
    for manifest, words in [(longer, "3 x 4 x 6 at 10 fps"), (faster, "2 x 4 x 6 at 12 fps")]:
        other = LocalDataset("dogs", manifest)
        with pytest.raises(
            UserError, match=f"cats has clips of 2 x 4 x 6 at 10 fps, but dogs.*{words}"
        ):
            mix_datasets({"cats": (cat, Decimal(1)), "dogs": (other, Decimal(1))})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (("data/cats",), "'data/cats' must be PATH=WEIGHT, such as"),
        (("data/cats=",), "must be PATH=WEIGHT"),
        (("=3",), "must be PATH=WEIGHT"),
        (("a=-1",), "must be PATH=WEIGHT"),
        (("a=0.0001",), "must be PATH=WEIGHT"),
        (("a=0",), "the weight must be between 0.001 and 1000"),
        (("a=1", "a=2"), "lists a twice; list it once"),
    ],
)
def test_wrong_entries_are_explained(entries, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig(mix=entries)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {"a cat": 3, "... -- !": 1}}, r"prompt '\.\.\. -- !' has no words; remove"),
        ({"held_out_prompts": ("!",)}, "prompt '!' has no words"),
        ({"prompts": {"a cat " * 400_000: 1}}, r"a ca'\.\.\. has 2400000 characters, more than"),
    ],
)
def test_prompts_that_nobody_can_read_are_refused_before_training(tmp_path, changes, message):
    path = make_dataset(tmp_path, "cat", 4, 10)
    write_manifest(path, load_manifest(path).model_copy(update=changes))
    with pytest.raises(UserError, match=f"cat: .*{message}"):
        open_data(DataConfig(path=path))


def test_urls_keep_their_slashes():
    assert DataConfig(path=Path("s3://bucket/a")).path == "s3://bucket/a"
    assert DataConfig(path="data/x").path == "data/x"
