"""Mean and std of a dataset: exact, in any order, through every tool."""

import itertools
import json
from decimal import Decimal

import numpy as np
import pytest

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.index_shards import index_shards
from data_tools.reshard import ReshardOptions, reshard
from t2vgan.data.dataset import open_dataset
from t2vgan.data.manifest import MANIFEST_NAME, load_manifest, write_manifest
from t2vgan.data.mixture import mix_datasets, single_dataset
from t2vgan.data.pixel_sums import LEAST_STD, add_sums, mix_statistics, sum_pixels
from t2vgan.data.shards import decode_sample, read_samples
from t2vgan.errors import UserError
from tests.support.shards import CLIP_GEOMETRY, noise, write_dataset


@pytest.fixture(scope="module")
def circles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums") / "circles"
    build(BuildPlan("circles", 50, 20, CLIP_GEOMETRY, seed=0), folder, num_workers=1)
    return folder


def frames_of(folder) -> np.ndarray:
    manifest = load_manifest(folder)
    samples = (s for entry in manifest.shards for s in read_samples(folder / entry.name))
    return np.stack([decode_sample(sample, manifest.geometry)[0] for sample in samples])


def without_sums(folder) -> None:
    """Rewrite a manifest as earlier versions wrote it."""
    manifest = load_manifest(folder)
    bare = [shard.model_copy(update={"pixel_sums": None}) for shard in manifest.shards]
    write_manifest(folder, manifest.model_copy(update={"shards": tuple(bare)}))


def flat(statistics):
    return pytest.approx([*statistics.mean, statistics.std])


def close_to(statistics, frames: np.ndarray) -> None:
    video = frames.reshape(-1, 3) / 127.5 - 1
    assert statistics.mean == pytest.approx(video.mean(0))
    assert statistics.std == pytest.approx(np.sqrt(video.var(0).mean()))


def test_sums_are_those_of_the_video_and_add_up_in_any_order():
    clips = [noise(seed=seed) // (1 + seed) for seed in range(4)]
    total = sum_pixels(np.stack(clips))
    close_to(total.statistics(), np.stack(clips))
    for order in itertools.permutations(map(sum_pixels, clips)):
        assert add_sums([add_sums(order[:2]), add_sums(order[2:])]) == total
    assert add_sums([]) is None


def test_constant_video_has_a_least_std():
    statistics = sum_pixels(np.full((2, 4, 6, 3), 255, np.uint8)).statistics()
    assert statistics == ((1.0, 1.0, 1.0), LEAST_STD)


def test_statistics_of_a_mixture_are_those_of_its_clips():
    dark, bright = noise(seed=1) // 4, 128 + noise(seed=2) // 2
    parts = [sum_pixels(dark).statistics(), sum_pixels(bright).statistics()]
    close_to(mix_statistics(parts, [3, 1]), np.stack([dark, dark, dark, bright]))


def test_a_builder_counts_what_a_reader_sees(circles):
    close_to(load_manifest(circles).pixel_statistics, frames_of(circles))


def test_every_tool_keeps_the_sums(circles, tmp_path):
    expected = load_manifest(circles).pixel_statistics
    reshard(ReshardOptions([circles], str(tmp_path / "new"), clips_per_shard=7, workers=1))
    assert load_manifest(tmp_path / "new").pixel_statistics == expected
    (tmp_path / "new" / MANIFEST_NAME).unlink()
    index_shards(tmp_path / "new")
    assert load_manifest(tmp_path / "new").pixel_statistics == expected


def test_manifests_without_sums_have_the_same_fingerprint_and_no_statistics(tmp_path):
    folder = write_dataset(tmp_path, ["a", "b", "c"])
    manifest = load_manifest(folder)
    without_sums(folder)
    text = (folder / MANIFEST_NAME).read_text()
    bare = load_manifest(folder)
    assert "pixel_sums" not in text
    assert bare.pixel_statistics is None
    assert bare.fingerprint == manifest.fingerprint
    partly = manifest.model_copy(update={"shards": (manifest.shards[0], bare.shards[1])})
    assert partly.pixel_statistics is None
    assert "pixel_sums" in json.dumps(partly.as_json()["shards"][0])


def test_data_without_sums_is_measured(circles, tmp_path):
    counted = single_dataset(open_dataset(circles))
    measured = counted.measure_pixels()
    assert [*measured.mean, measured.std] == flat(counted.pixel_statistics), "all 50 clips"
    levels = {"dark": 20, "bright": 220}
    parts = {
        name: (open_dataset(write_dataset(tmp_path / name, ["x"] * 4, levels=(level,) * 4)), weight)
        for (name, level), weight in zip(levels.items(), (Decimal(3), Decimal(1)), strict=True)
    }
    mixture = mix_datasets(parts)
    measured = mixture.measure_pixels()
    assert [*measured.mean, measured.std] == flat(mixture.pixel_statistics)
    assert mixture.pixel_statistics.mean[0] == pytest.approx(70 / 127.5 - 1)
    without_sums(tmp_path / "dark")
    dark = open_dataset(tmp_path / "dark")
    assert single_dataset(dark).pixel_statistics is None


def test_data_that_cannot_be_read_is_one_line(tmp_path):
    folder = write_dataset(tmp_path, ["x"] * 4)
    data = single_dataset(open_dataset(folder))
    for entry in data.manifest.shards:
        (folder / entry.name).write_bytes(b"\1" * entry.num_bytes)
    with pytest.raises(UserError, match="no clip of this data set can be read"):
        data.measure_pixels()
