"""Read captions of every source, and draw one of them for each step."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2vgan.data.captions import NO_CAPTION, draw_captions, parse_captions
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import check_manifest_prompts, single_dataset
from t2vgan.data.shards import EncodedSample, Geometry, encode_sample, write_shard
from t2vgan.errors import UserError
from tests.support.shards import make_manifest

GEOMETRY = Geometry(num_frames=2, height=4, width=6)
BATCH, STREAMS = 8, 4


@pytest.mark.parametrize(
    ("members", "captions"),
    [
        ({"txt": b"a cat"}, ["a cat"]),
        ({"txt": b" a cat \r\n\na dog\n"}, ["a cat", "a dog"]),
        ({"txt": "a cat\n🐈\na cat\na dog".encode()}, ["a cat", "a dog"]),
        ({"txt": "one line\u2028still".encode()}, ["one line\u2028still"]),
        ({"txt": b"", "json": b'{"caption": "unread"}'}, [NO_CAPTION]),
        ({"txt": b"a cat", "json": b'{"captions": ["unread"]}'}, ["a cat"]),
        ({"json": b'{"captions": ["a cat", "a\\ndog"], "caption": "no"}'}, ["a cat", "a dog"]),
        ({"json": b'{"caption": "a\\n cat", "label": 3}'}, ["a cat"]),
        ({"json": b'{"label": "cat"}'}, ["cat"]),
        ({"json": b'{"cls": 7}'}, ["7"]),
        ({"json": b'{"label": " a  cat "}'}, ["a cat"]),
        ({"json": b"{}", "cls": b" a  cat\n"}, ["a cat"]),
        ({"json": b"{}", "cls": b"12\n"}, ["12"]),
        ({"json": b"broken", "cls": b"12"}, ["12"]),
    ],
)
def test_captions_stand_where_webdataset_has_them(members, captions):
    assert list(parse_captions(members)) == captions


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"json": b"{}"}, "no prompt"),
        ({"json": b"[1]"}, "no prompt"),
        ({"json": b'{"captions": []}'}, "no prompt"),
        ({"json": b'{"captions": "a cat"}'}, "`captions` must be a list of strings"),
        ({"json": b'{"captions": ["a cat", 3]}'}, "`captions` must be a list of strings"),
        ({"json": b'{"caption": ["a cat"]}'}, "`caption` must be a string"),
        ({"json": b'{"label": true}'}, "`label` must be a string or an integer"),
        ({"json": b'{"label": 1.5, "cls": 3}'}, "`label` must be a string or an integer"),
        ({"txt": "🐈🐈\n… -- !".encode()}, "prompt has no words"),
        ({"txt": b" \n"}, "prompt has no words"),
    ],
)
def test_what_is_no_caption_is_refused_with_the_reason(members, reason):
    with pytest.raises(ValueError, match=reason):
        parse_captions(members)


def test_captions_are_written_a_line_each():
    frames = np.zeros(GEOMETRY.shape, np.uint8)
    several = encode_sample("0", frames, ["a cat", "ein Kätzchen"], {})
    assert several.members["txt"].decode() == "a cat\nein Kätzchen"
    assert encode_sample("0", frames, (), {}).members["txt"] == b""
    for captions in (["a cat", ""], ["a\ncat"], [" "], "", ["a cat " * 20_000]):
        with pytest.raises(ValueError, match="sample 0: "):
            encode_sample("0", frames, captions, {})


# --- the draw -------------------------------------------------------------------------------------

some_captions = st.lists(
    st.lists(st.text("abc", min_size=1), min_size=1, max_size=5, unique=True),
    min_size=1,
    max_size=24,
)


@given(captions=some_captions, seed=st.integers(0, 9), step=st.integers(0, 999), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_draw_depends_on_seed_step_and_place_only(captions, seed, step, data):
    dropout = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    place = {"seed": seed, "step": step, "num_clips": len(captions), "dropout": dropout}
    whole = draw_captions(captions, np.arange(len(captions)), **place)
    cut = data.draw(st.integers(0, len(captions)))
    parts = [
        draw_captions([captions[i] for i in rows], np.array(rows, np.int64), **place)
        for rows in (range(cut), range(cut, len(captions)))
    ]
    assert parts[0] + parts[1] == whole, "ranks draw their places of the global batch"
    for drawn, own in zip(whole, captions, strict=True):
        assert drawn in own or (dropout and drawn == NO_CAPTION)
    if dropout == 1:
        assert set(whole) == {NO_CAPTION}
    others = [["z", *own] for own in captions]
    others[0] = captions[0]
    assert draw_captions(others, np.arange(len(captions)), **place)[0] == whole[0]


def test_every_caption_is_drawn_equally_often():
    captions = [["a", "b", "c"]] * 100
    counts = Counter(
        caption
        for step in range(60)
        for caption in draw_captions(
            captions, np.arange(100), seed=3, step=step, num_clips=100, dropout=0.25
        )
    )
    assert abs(counts[NO_CAPTION] - 1500) < 5 * np.sqrt(6000 * 0.25 * 0.75)
    for caption in "abc":
        assert abs(counts[caption] - 1500) < 5 * np.sqrt(6000 * 0.25 * 0.75)


# --- through the loader ---------------------------------------------------------------------------


def write_data(folder, captions_of):
    """Write 40 clips in four shards; return the data as a mixture."""
    entries, counts = [], Counter()
    for shard in range(STREAMS):
        samples = []
        for index in range(shard * 10, shard * 10 + 10):
            frames = np.full(GEOMETRY.shape, index, np.uint8)
            captions = captions_of(index)
            counts.update(captions or [NO_CAPTION])
            samples.append(encode_sample(f"{index:04d}", frames, captions, {}))
        entries.append(write_shard(folder / f"a-{shard}.tar", samples))
    manifest = make_manifest(*entries, geometry=GEOMETRY, fps=8, prompts=dict(counts))
    return single_dataset(LocalDataset(folder, manifest))


def read(data, *, rank=0, world_size=1, start_step=0, count=6, **options):
    sampler = data.create_sampler(num_streams=STREAMS, shuffle_window=5, seed=7)
    with ClipLoader(
        data, sampler, global_batch_size=BATCH, rank=rank, world_size=world_size,
        start_step=start_step, **options,
    ) as loader:  # fmt: skip
        return [next(loader) for _ in range(count)]


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_ranks_and_resumes_see_the_captions_of_one_process(tmp_path, dropout):
    data = write_data(
        tmp_path, lambda index: [f"clip {index}", f"number {index}", f"{index} it is"]
    )
    whole = read(data, count=8, caption_dropout=dropout)
    prompts = [prompt for batch in whole for prompt in batch.prompts]
    assert len({prompt.strip("0123456789 ") for prompt in prompts if prompt}) == 3
    assert (NO_CAPTION in prompts) == (dropout > 0)
    for batch in whole:
        for key, prompt in zip(batch.keys, batch.prompts, strict=True):
            assert not prompt or str(int(key)) in prompt.split()
    resumed = read(data, start_step=3, count=5, caption_dropout=dropout)
    assert [batch.prompts for batch in resumed] == [batch.prompts for batch in whole[3:]]
    for world_size in (2, 4):
        ranks = [
            read(data, rank=rank, world_size=world_size, count=8, caption_dropout=dropout)
            for rank in range(world_size)
        ]
        together = [
            [p for batch in step for p in batch.prompts] for step in zip(*ranks, strict=True)
        ]
        assert together == [batch.prompts for batch in whole]


def test_an_empty_caption_is_damage_where_the_manifest_counts_none(tmp_path):
    data = write_data(tmp_path, lambda index: [] if index % 2 else [f"clip {index}"])
    check_manifest_prompts(data.manifest, "data")
    (batch,) = read(data, count=1)
    assert not batch.bad_samples
    assert NO_CAPTION in batch.prompts
    prompts = {prompt: n for prompt, n in data.manifest.prompts.items() if prompt}
    stale = data.manifest.model_copy(update={"prompts": prompts})
    (batch,) = read(single_dataset(LocalDataset(tmp_path, stale)), count=1)
    assert batch.bad_samples
    assert NO_CAPTION not in batch.prompts


def test_an_empty_prompt_is_held_out_of_no_data(tmp_path):
    data = write_data(tmp_path, lambda index: ["a cat"])
    held_out = data.manifest.model_copy(update={"held_out_prompts": ("",)})
    with pytest.raises(UserError, match="has no words"):
        check_manifest_prompts(held_out, "data")


def test_captions_of_json_are_read_by_the_loader(tmp_path):
    data = write_data(tmp_path, lambda index: ["a cat"])
    samples = [
        EncodedSample(s.key, {"webp": s.members["webp"], "json": json.dumps({"cls": 5}).encode()})
        for _, s in data.parts[0].iter_samples()
    ]
    entry = write_shard(tmp_path / "a-0.tar", samples)
    manifest = data.manifest.model_copy(update={"shards": (entry,), "prompts": {"5": 40}})
    sampler = single_dataset(LocalDataset(tmp_path, manifest))
    order = sampler.create_sampler(num_streams=1, shuffle_window=5, seed=7)
    with ClipLoader(sampler, order, global_batch_size=4) as loader:
        assert next(loader).prompts == ["5"] * 4
