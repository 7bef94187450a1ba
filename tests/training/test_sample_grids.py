"""What a run shows of itself: which prompts, how many seeds, and real clips beside them."""

import numpy as np
import pytest
from PIL import Image

from t2vgan.data.dataset import LocalDataset
from t2vgan.data.manifest import Geometry
from t2vgan.data.shards import EncodedSample, encode_sample, write_shard
from t2vgan.media import film_strips, load_clip, save_clip, split_film_strips
from t2vgan.tracking.metrics_log import JsonlLogger
from t2vgan.training.sample_grids import (
    MAX_HELD_OUT_PROMPTS,
    MAX_PROMPTS,
    MAX_VARIED_HELD_OUT_PROMPTS,
    MAX_VARIED_PROMPTS,
    NUM_SEEDS,
    load_real_clips,
    prompts_of,
    save_real_clips,
    save_samples,
    varied_prompts_of,
)
from tests.support.shards import make_manifest

GEOMETRY = Geometry(num_frames=3, height=4, width=6)
PROMPTS = ["red", "green", "blue"]


def clip_of(value: int) -> np.ndarray:
    return np.full(GEOMETRY.shape, value, np.uint8)


@pytest.fixture
def data(tmp_path):
    """Two shards: the first clip of "red" is damaged, "blue" is in the second shard only."""
    folder = tmp_path / "data"
    folder.mkdir()
    samples = [
        encode_sample(f"s{i}", clip_of(10 * i), prompt, {})
        for i, prompt in enumerate(["red", "green", "red", "green", "blue"])
    ]
    samples[0] = EncodedSample("s0", samples[0].members | {"webp": b"torn"})
    entries = [
        write_shard(folder / "a.tar", samples[:3]), write_shard(folder / "b.tar", samples[3:])
    ]  # fmt: skip
    manifest = make_manifest(
        *entries, geometry=GEOMETRY, prompts={"red": 2, "green": 2, "blue": 1},
        held_out_prompts=("red green",),
    )  # fmt: skip
    return folder, manifest


def test_the_first_good_clip_of_each_prompt_is_kept(data, tmp_path):
    folder, manifest = data
    record = save_real_clips(tmp_path / "run", [LocalDataset(folder, manifest)], manifest)
    assert record["prompts"] == PROMPTS
    assert record["held_out_prompts"] == []
    picture = np.asarray(Image.open(tmp_path / "run" / record["file"]).convert("RGB"))
    clips = split_film_strips(picture, **GEOMETRY.model_dump())
    assert (clips == np.stack([clip_of(20), clip_of(10), clip_of(40)])).all()


def test_a_damaged_shard_is_passed_over(data, tmp_path):
    folder, manifest = data
    (folder / "b.tar").write_bytes((folder / "b.tar").read_bytes()[:700])
    assert save_real_clips(tmp_path / "run", [LocalDataset(folder, manifest)], manifest)[
        "prompts"
    ] == ["red", "green"]
    (folder / "a.tar").unlink()
    (folder / "b.tar").unlink()
    assert save_real_clips(tmp_path / "run", [LocalDataset(folder, manifest)], manifest) == {}


def test_the_search_ends_where_it_would_take_long(data, tmp_path, monkeypatch):
    folder, manifest = data
    monkeypatch.setattr("t2vgan.training.sample_grids.MAX_BYTES_SEARCHED", 1)
    assert save_real_clips(tmp_path / "run", [LocalDataset(folder, manifest)], manifest) == {}, (
        "only the damaged clip"
    )


def test_of_many_prompts_an_even_choice_is_shown(data):
    _, manifest = data
    many = {f"trained {i}": 1 for i in range(1000)}
    unseen = tuple(f"held out {i}" for i in range(100))
    manifest = manifest.model_copy(update={"prompts": many, "held_out_prompts": unseen})
    shown = prompts_of(manifest)
    assert len(shown) == MAX_PROMPTS + MAX_HELD_OUT_PROMPTS
    ends = [shown[i] for i in (0, MAX_PROMPTS - 1, MAX_PROMPTS, -1)]
    assert ends == ["trained 0", "trained 999", "held out 0", "held out 99"]
    varied = varied_prompts_of(manifest)
    assert set(varied) <= set(shown)
    assert len(set(varied)) == MAX_VARIED_PROMPTS + MAX_VARIED_HELD_OUT_PROMPTS
    assert all(varied.count(prompt) == NUM_SEEDS for prompt in varied)
    assert varied[:NUM_SEEDS] == ["trained 0"] * NUM_SEEDS


def test_of_few_prompts_all_are_shown(data):
    _, manifest = data
    assert prompts_of(manifest) == [*PROMPTS, "red green"]
    assert len(varied_prompts_of(manifest)) == 4 * NUM_SEEDS


def test_generated_clips_are_shown_beside_the_real_ones(data, tmp_path):
    folder, manifest = data
    run_dir = tmp_path / "run"
    generated = np.stack([clip_of(value) for value in (60, 90, 120, 150)])
    generated_only = save_samples(run_dir, 1, generated, manifest)
    log = JsonlLogger(run_dir)
    log.open()
    real = save_real_clips(run_dir, [LocalDataset(folder, manifest)], manifest)
    log.write("data", step=0, clips_seen=0, seconds=0.0, **real)
    log.close()
    assert {name: clip[0, 0, 0, 0] for name, clip in load_real_clips(run_dir).items()} == {
        "red": 20, "green": 10, "blue": 40,
    }  # fmt: skip
    beside = save_samples(run_dir, 2, generated, manifest)
    sheets = [load_clip(run_dir / record["animation"]) for record in (generated_only, beside)]
    for value in (60, 90, 120, 150):
        assert all((sheet == value).all(-1).any() for sheet in sheets)
    for value in (20, 10, 40):
        assert [(sheet == value).all(-1).any() for sheet in sheets] == [False, True]
    save_clip(run_dir / real["file"], film_strips(generated[:1])[None])
    assert load_real_clips(run_dir) == {}, "another number of clips"
    (run_dir / real["file"]).write_bytes(b"no picture")
    assert load_real_clips(run_dir) == {}
