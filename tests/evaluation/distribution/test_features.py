"""The features that distances are measured in, the network that ships."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_tools.scenes import shapes
from t2vgan.data.shards import Geometry
from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.distances import frechet_distance, kernel_distance
from t2vgan.evaluation.distribution.feature_network import (
    SHIPPED,
    extract_features,
    load_features,
    resize_clips,
)
from t2vgan.evaluation.distribution.feature_training import train_feature_network
from t2vgan.evaluation.distribution.fvd import VideoFeatureExtractor

GEOMETRY = Geometry(num_frames=16, height=32, width=32)


@pytest.fixture(scope="module")
def shipped():
    return load_features(SHIPPED)[0]


@pytest.fixture(scope="module")
def real():
    return shapes.render_clips(range(600), 7, GEOMETRY).frames


def test_distances_see_what_is_wrong_and_not_what_is_right(shipped, real):
    """Each fault is farther from real clips than other real clips are."""
    features = extract_features(shipped, real)
    reference, others = features[:300], features[300:]
    faults = {
        "one clip only": np.repeat(real[:1], 300, axis=0),
        "frames in another order": real[300:, np.random.default_rng(0).permutation(16)],
        "still": np.repeat(real[300:, :1], 16, axis=1),
        "colours in another order": real[300:, ..., ::-1],
        "nothing": np.full_like(real[:300], 255),
    }
    floor = frechet_distance(reference, others)
    kernel_floor = abs(kernel_distance(reference, others))
    for name, frames in faults.items():
        faulty = extract_features(shipped, frames)
        assert frechet_distance(reference, faulty) > 2 * floor, name
        assert kernel_distance(reference, faulty) > 2 * kernel_floor, name


def test_features_of_real_clips_are_standardised(shipped, real):
    features = extract_features(shipped, real)
    assert np.abs(features.mean(axis=0)).max() < 0.5
    std = features.std(axis=0)
    assert std[std > 0.01] == pytest.approx(1, abs=0.15), "the others are dead"
    assert (std > 0.01).sum() > 20


def test_the_shipped_file_is_small_and_says_where_it_comes_from():
    assert SHIPPED.stat().st_size <= 2e6
    _, info = load_features(SHIPPED)
    assert min(info.accuracy[name] for name in ("colour", "size", "motion")) >= 0.99
    assert len(info.dataset_fingerprints) == 2


def test_features_do_not_depend_on_the_other_clips(shipped, real):
    together = extract_features(shipped, real[:40])
    single = np.concatenate(
        [extract_features(shipped, real[place : place + 1]) for place in (3, 35)]
    )
    assert np.array_equal(together[[3, 35]], single)


def test_clips_of_any_size_fit():
    assert resize_clips(np.zeros((2, 5, 20, 30, 3), np.uint8)).shape == (2, 8, 32, 32, 3)
    checked = np.zeros((1, 8, 64, 64, 3), np.uint8)
    checked[:, :, ::2] = 200
    assert (resize_clips(checked) == 100).all(), "larger pictures are averaged"


@dataclass
class NoiseClips:
    """Real clips of these prompts that all show noise."""

    prompts: list[str]
    data = SimpleNamespace(parts=())

    @property
    def num_clips(self) -> int:
        return len(self.prompts)

    def read(self, places):
        shape = (len(places), 8, 32, 32, 3)
        frames = np.random.default_rng(places[0]).integers(0, 256, shape, dtype=np.uint8)
        return frames, [self.prompts[place] for place in places]


def test_an_attribute_that_few_prompts_ask_for_leaves_the_weights_finite():
    rare = ["red circle moving left", "blue circle moving left"]
    prompts = rare + ["circle moving left", "circle moving right"] * 120
    network, info = train_feature_network([NoiseClips(prompts)], num_epochs=1, seed=0)
    assert all(weights.isfinite().all() for weights in network.state_dict().values())
    assert "motion" in info.accuracy


def test_prompts_without_any_attribute_of_one_object_are_skipped():
    two = "a red circle moving left and a blue star moving right"
    prompts = ["circle moving left", "circle moving right"] + [two] * 240
    network, _ = train_feature_network([NoiseClips(prompts)], num_epochs=1, seed=0)
    assert all(weights.isfinite().all() for weights in network.state_dict().values())
    with pytest.raises(UserError, match="vary in no attribute"):
        train_feature_network([NoiseClips([two] * 200)], num_epochs=1, seed=0)


class ToyI3D(torch.nn.Module):
    """Imitate the TorchScript I3D with channel means of the first frame."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale and not resize and return_features  # noqa: PT018
        assert x.shape[3] == 224 and x.shape[4] == 224  # noqa: PT018
        return x[:, :, 0].mean(dim=(2, 3))


def test_fvd_features_come_from_the_users_file(tmp_path):
    path = tmp_path / "i3d.pt"
    torch.jit.script(ToyI3D()).save(path)
    frames = np.zeros((5, 4, 10, 12, 3), np.uint8)
    frames[1] = (255, 0, 51)
    features = VideoFeatureExtractor(path, "cpu").extract(frames)
    assert features.shape == (5, 3)
    assert features[1] == pytest.approx([1, -1, -0.6], abs=1e-5)
    assert features[[0, 2]] == pytest.approx(-1)
    with pytest.raises(UserError, match="no such file"):
        VideoFeatureExtractor(tmp_path / "nowhere.pt", "cpu")
    path.write_bytes(b"not a program")
    with pytest.raises(UserError, match="not TorchScript"):
        VideoFeatureExtractor(path, "cpu")
