"""Test the sample order: exact, elastic, sequential."""

import threading
from collections.abc import Collection
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import Batch, ClipLoader, decode_or_replace, find_usable_window
from t2vgan.data.mixture import single_dataset
from t2vgan.data.sampler import Segment, StreamSampler
from t2vgan.data.shard_reader import BadSample, ShardReader
from t2vgan.data.shards import EncodedSample, Manifest, write_shard
from t2vgan.errors import UserError
from tests.support.numbered_shards import GEOMETRY, sample, save_manifest, write_shards
from tests.support.shards import locate


def positions_of_epoch(sampler: StreamSampler, epoch: int) -> list[list[tuple[int, int]]]:
    length = sampler.stream_length
    return [
        [locate(sampler, stream, epoch * length + offset) for offset in range(length)]
        for stream in range(sampler.num_streams)
    ]


samplers = st.builds(
    StreamSampler,
    counts=st.lists(st.integers(1, 9), min_size=4, max_size=9).map(tuple),
    num_streams=st.integers(1, 4),
    shuffle_window=st.integers(1, 7),
    seed=st.integers(0, 2**40),
)


@given(sampler=samplers, epoch=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_shows_each_sample_once_and_leaves_out_only_the_remainder(sampler, epoch):
    streams = positions_of_epoch(sampler, epoch)
    seen = [place for stream in streams for place in stream]
    assert (
        len(seen)
        == len(set(seen))
        == sum(sampler.counts) // sampler.num_streams * sampler.num_streams
    )
    assert all(0 <= index < sampler.counts[shard] for shard, index in seen)


@given(sampler=samplers, position=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_seeking_equals_reading_on(sampler, position):
    def read(start: int, count: int) -> list[tuple[int, int]]:
        found = []
        for segments, shuffled, already in sampler.windows(0, start):
            places = [(s.shard, s.first + i) for s in segments for i in range(s.count)]
            found += [places[index] for index in shuffled[already:]]
            if len(found) >= count:
                return found[:count]
        raise AssertionError

    assert read(position, 20) == read(0, position + 20)[position:]


def test_epochs_and_seeds_differ_and_windows_shuffle():
    sampler = StreamSampler(counts=(40, 40, 40, 40), num_streams=2, shuffle_window=16, seed=1)
    first, second = positions_of_epoch(sampler, 0), positions_of_epoch(sampler, 1)
    assert first != second
    assert positions_of_epoch(StreamSampler(sampler.counts, 2, 16, seed=2), 0) != first
    window = first[0][:16]
    assert window != sorted(window)


def test_each_window_of_each_stream_and_epoch_is_shuffled_in_its_own_way():
    sampler = StreamSampler(counts=(64,), num_streams=2, shuffle_window=16, seed=1)
    windows = [islice(sampler.windows(stream, 0), 4) for stream in range(2)]  # of two epochs
    assert len({tuple(shuffled) for own in windows for _, shuffled, _ in own}) == 8


def test_more_streams_than_samples_are_refused():
    with pytest.raises(UserError, match=r"num_streams=4 must be at most the number of samples = 3"):
        StreamSampler(counts=(2, 1), num_streams=4, shuffle_window=1, seed=0)


def test_reading_is_sequential_within_a_span():
    sampler = StreamSampler(counts=(5, 7, 3, 9), num_streams=2, shuffle_window=4, seed=3)
    segments = sampler.segments(epoch=0, stream=1, start=0, stop=sampler.stream_length)
    assert sum(segment.count for segment in segments) == sampler.stream_length
    for before, after in pairwise(segments):
        assert before.first + before.count == sampler.counts[before.shard]
        assert after.first == 0


# --- the loader, from real tars ------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("shards")
    return folder, write_shards(folder, [11, 7, 13, 9, 10])


def batches(dataset, *, count, world_size=1, start_step=0, **options) -> list[list[Batch]]:
    """Return `count` global batches, each as its parts by rank."""
    data = single_dataset(LocalDataset(*dataset))
    sampler = data.create_sampler(num_streams=4, shuffle_window=5, seed=7)
    parts = []
    for rank in range(world_size):
        with ClipLoader(
            data,
            sampler,
            global_batch_size=8,
            rank=rank,
            world_size=world_size,
            start_step=start_step,
            **options,
        ) as loader:
            parts.append(list(islice(loader, count)))
    return [list(step) for step in zip(*parts, strict=True)]


def keys(global_batch: list[Batch]) -> list[str]:
    return [key for part in global_batch for key in part.keys]


def test_frames_and_prompts_belong_together(dataset):
    for (batch,) in batches(dataset, count=8):
        assert batch.frames.shape == (8, 2, 4, 6, 3)
        for key, frames, prompt in zip(batch.keys, batch.frames, batch.prompts, strict=True):
            assert prompt == f"prompt {int(key)}"
            assert (frames == int(key)).all()


@pytest.mark.parametrize("world_size", [2, 4])
def test_global_batches_do_not_depend_on_the_world_size(dataset, world_size):
    single = batches(dataset, count=12)
    together = batches(dataset, count=12, world_size=world_size)
    assert [keys(step) for step in together] == [keys(step) for step in single]
    for step in together:
        positions = np.concatenate([part.positions for part in step])
        assert positions.tolist() == list(range(8))


@pytest.mark.parametrize("start_step", [1, 5, 6, 23])
def test_a_loader_that_starts_late_continues_the_same_sequence(dataset, start_step):
    whole = batches(dataset, count=start_step + 4)
    late = batches(dataset, count=4, start_step=start_step)
    assert [keys(step) for step in late] == [keys(step) for step in whole[start_step:]]
    assert [step[0].step for step in late] == list(range(start_step, start_step + 4))


def test_two_resumes_one_of_them_in_the_third_epoch_replay_nothing(dataset):
    """Six steps are an epoch of 48 of the 50 clips."""
    lives = [(0, 4), (4, 15), (15, 24)]
    shown = [
        key
        for start, stop in lives
        for step in batches(dataset, count=stop - start, start_step=start)
        for key in keys(step)
    ]
    assert shown == [key for step in batches(dataset, count=24) for key in keys(step)]
    epochs = [shown[start : start + 48] for start in range(0, len(shown), 48)]
    assert [len(set(epoch)) for epoch in epochs] == [48, 48, 48, 48]
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_clips_left_out_of_an_epoch_and_repeated_in_a_batch_are_counted(dataset):
    data = single_dataset(LocalDataset(*dataset))
    describe = partial(data.describe_epochs, global_batch_size=8)
    assert describe(num_streams=5) == []
    (line,) = describe(num_streams=4)
    assert line.startswith("2 of 50 clips are left out of each epoch")
    _, line = describe(num_streams=4, global_batch_size=64)
    assert line.startswith("50 clips are fewer than train.global_batch_size=64")
    sampler = data.create_sampler(num_streams=4, shuffle_window=5, seed=7)
    assert 4 * sampler.parts[0].stream_length == 50 - 2


def test_threads_and_prefetch_do_not_change_the_order(dataset):
    single = batches(dataset, count=12)
    threaded = batches(dataset, count=12, num_threads=4, prefetch=1)
    for (a,), (b,) in zip(single, threaded, strict=True):
        assert a.keys == b.keys
        assert (a.frames == b.frames).all()


def test_batches_are_transformed_in_the_thread_that_reads_ahead(dataset):
    threads = set()

    def transform(batch: Batch) -> list[str]:
        threads.add(threading.current_thread().name)
        return batch.keys

    expected = [batch.keys for (batch,) in batches(dataset, count=6)]
    found = batches(dataset, count=6, transform=transform)
    assert [keys for (keys,) in found] == expected
    assert threads == {"clip-loader"}


def test_an_error_of_the_transform_is_raised_where_its_batch_is_taken(dataset):
    def fail(batch: Batch) -> None:
        raise UserError(f"step {batch.step}")

    with pytest.raises(UserError, match="step 0"):
        batches(dataset, count=1, transform=fail)


def test_a_bad_sample_is_replaced_by_its_neighbour_and_named():
    good = [("s.tar", sample(i)) for i in range(3)]
    broken = ("s.tar", EncodedSample("broken", {"txt": b"x", "webp": b"not a picture"}))
    window = [good[0], broken, good[1]]
    frames = np.full(GEOMETRY.shape, 7, np.uint8)
    key, captions, bad = decode_or_replace(window, 1, GEOMETRY, frames)
    assert (key, captions) == ("broken", ("prompt 0",))
    assert (frames == 0).all()
    assert (bad.shard, bad.key) == ("s.tar", "broken")
    assert decode_or_replace([broken, good[2]], 0, GEOMETRY, frames)[1] == ("prompt 2",)
    with pytest.raises(UserError, match="none of 1 samples can be used"):
        decode_or_replace([broken], 0, GEOMETRY, frames)


def test_a_bad_sample_does_not_shift_the_others(tmp_path, dataset):
    samples = [sample(i) for i in range(50)]
    for bad in (5, 20):
        samples[bad] = EncodedSample(f"{bad:04d}", {"txt": b"", "webp": b"?", "json": b"{}"})
    entries = tuple(
        write_shard(tmp_path / f"s-{i}.tar", samples[start:stop])
        for i, (start, stop) in enumerate([(0, 11), (11, 18), (18, 31), (31, 40), (40, 50)])
    )
    damaged = (tmp_path, save_manifest(tmp_path, entries))
    steps = batches(damaged, count=12)
    assert [keys(step) for step in steps] == [keys(step) for step in batches(dataset, count=12)]
    named = {sample.key for (part,) in steps for sample in part.bad_samples}
    assert named == {"0005", "0020"}


def write_damaged(
    folder: Path, num_samples: int, undecodable: Collection[int]
) -> tuple[Path, Manifest]:
    """Write shards of ten samples, of which some cannot be decoded."""
    samples = [sample(i) for i in range(num_samples)]
    for bad in undecodable:
        samples[bad] = EncodedSample(f"{bad:04d}", {"txt": b"", "webp": b"?", "json": b"{}"})
    entries = tuple(
        write_shard(folder / f"s-{start}.tar", samples[start : start + 10])
        for start in range(0, num_samples, 10)
    )
    return folder, save_manifest(folder, entries)


@pytest.mark.parametrize(("undecodable", "missing"), [(range(0, 50, 3), ()), ((), ("s-20.tar",))])
def test_a_resumed_loader_replaces_bad_samples_by_the_same_others(undecodable, missing, tmp_path):
    damaged = write_damaged(tmp_path, 50, undecodable)
    for name in missing:
        (tmp_path / name).unlink()
    whole = batches(damaged, count=8)
    for start_step, (expected,) in enumerate(whole):
        ((late,),) = batches(damaged, count=1, start_step=start_step)
        assert late.prompts == expected.prompts
        assert np.array_equal(late.frames, expected.frames)


def test_samples_of_the_nearest_usable_window_stand_in():
    """In four windows of one shard each: earlier ones first, then later ones, then epochs."""
    sampler = StreamSampler(counts=(2,) * 8, num_streams=2, shuffle_window=2, seed=0)

    def list_shards(epoch: int) -> list[int]:
        return [sampler.segments(epoch, 0, start, start + 2)[0].shard for start in range(0, 8, 2)]

    def find(damaged: list[int]) -> int:
        def read(segment: Segment) -> list:
            bad = BadSample(str(segment.shard), "", "", "")
            return [(segment.shard, bad if segment.shard in damaged else sample(0))]

        reader = SimpleNamespace(read=read)
        return find_usable_window(sampler, reader, is_readable, 0, 8 + 4)[0][0]

    own = list_shards(epoch=1)
    assert find([own[2]]) == own[1]
    assert find(own[1:3]) == own[0]
    assert find(own[:3]) == own[3]
    assert find(own) == next(shard for shard in list_shards(epoch=0) if shard not in own)


def is_readable(item: tuple[str, EncodedSample | BadSample]) -> bool:
    return isinstance(item[1], EncodedSample)


@pytest.mark.parametrize(("num_broken", "found"), [(15, True), (16, False)])
def test_a_search_ends_after_many_windows_without_a_decodable_sample(num_broken, found):
    sampler = StreamSampler(counts=(1,) * 20, num_streams=1, shuffle_window=1, seed=0)
    in_order = [sampler.segments(0, 0, start, start + 1)[0].shard for start in range(20)]
    good = in_order[num_broken:]
    reader = SimpleNamespace(read=lambda segment: [(segment.shard, sample(0))])
    window = find_usable_window(sampler, reader, lambda item: item[0] in good, 0, 0)
    assert bool(window) == found


@pytest.mark.parametrize(
    ("undecodable", "missing"), [([0], []), ([0, 10, 30], []), ([0, 10], [20])]
)
def test_a_window_of_undecodable_samples_is_replaced_by_others(undecodable, missing, tmp_path):
    """As one of lost shards: every clip that is shown is a good one, with its own prompt."""
    damaged = write_damaged(tmp_path, 40, [start + i for start in undecodable for i in range(10)])
    for start in missing:
        (tmp_path / f"s-{start}.tar").unlink()
    bad = set()
    for (batch,) in batches(damaged, count=5):
        bad |= {found.key for found in batch.bad_samples}
        for frames, prompt in zip(batch.frames, batch.prompts, strict=True):
            assert prompt == f"prompt {frames.max()}"
    assert len(bad) == 10 * len(undecodable + missing)


def test_a_shard_that_differs_from_the_manifest_is_named_and_replaced(tmp_path):
    entries = tuple(write_shard(tmp_path / f"s-{i}.tar", [sample(i)] * 1) for i in range(4))
    manifest = save_manifest(tmp_path, entries)
    write_shard(tmp_path / "s-2.tar", [sample(9)])
    ((batch,),) = batches((tmp_path, manifest), count=1)
    bad = {(sample.shard, sample.key, sample.reason) for sample in batch.bad_samples}
    assert bad == {("s-2.tar", "#0", "changed")}
    assert not (batch.frames == 9).all(axis=(1, 2, 3, 4)).any()
    for frames, prompt in zip(batch.frames, batch.prompts, strict=True):
        assert prompt == f"prompt {frames.max()}"


def test_when_every_shard_is_lost_the_loader_says_so(tmp_path):
    entries = tuple(write_shard(tmp_path / f"s-{i}.tar", [sample(i)]) for i in range(4))
    manifest = save_manifest(tmp_path, entries)
    for path in tmp_path.glob("*.tar"):
        path.unlink()
    with pytest.raises(UserError, match=r"none of 1 samples can be used.*No such file"):
        batches((tmp_path, manifest), count=1)


def test_a_shard_with_fewer_samples_than_the_manifest_says_is_named(tmp_path):
    entry = write_shard(tmp_path / "s-0.tar", [sample(0), sample(1)])
    manifest = save_manifest(tmp_path, (entry.model_copy(update={"num_samples": 3}),))
    sampler = StreamSampler(counts=(3,), num_streams=1, shuffle_window=3, seed=0)
    reader = ShardReader(LocalDataset(tmp_path, manifest))
    first, second, (_, bad) = reader.read(sampler.segments(0, 0, 0, 3)[0])
    assert (first[1].key, second[1].key) == ("0000", "0001")
    assert bad.reason == "truncated"
    assert "s-0.tar: the manifest lists 3 samples, but the shard ends after 2" in bad.detail
