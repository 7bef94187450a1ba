"""Differences between clips, where they can be computed by hand."""

import numpy as np
import pytest

from t2vgan.data.dataset import open_dataset
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.training.health.variety import (
    Differences,
    Variety,
    measure_generated,
    measure_real,
    read_real_differences,
)
from tests.support.shards import write_dataset


def grey(*levels: float) -> np.ndarray:
    """Return the thumbnail of a clip of 2 frames of 32x48 for each level."""
    return make_thumbnails(np.stack([np.full((2, 32, 48, 3), level, np.uint8) for level in levels]))


def test_the_difference_of_two_clips_is_that_of_their_levels():
    found = measure_generated(grey(10, 20, 110, 120), num_seeds=2)  # two prompts, two seeds
    assert found.prompts == pytest.approx(100)
    assert found.seeds == pytest.approx(10)
    assert measure_generated(grey(10, 20), num_seeds=2).prompts is None


def test_real_clips_are_compared_within_and_between_prompts():
    clips, prompts = grey(10, 20, 110, 120), ["a", "a", "b", "b"]
    found = measure_real(clips, prompts)
    assert found.seeds == pytest.approx(10)
    # The mean of 90^2, 100^2, 100^2 and 110^2.
    assert found.prompts == pytest.approx(np.sqrt((90**2 + 2 * 100**2 + 110**2) / 4))
    unique = measure_real(clips, ["a", "b", "c", "d"])
    assert unique.seeds is None, "no prompt has two clips"
    assert unique.prompts == pytest.approx(np.sqrt((2 * 10**2 + 90**2 + 2 * 100**2 + 110**2) / 6))
    assert measure_real(clips, ["a"] * 4).prompts is None


def test_noise_is_averaged_out():
    noise = np.random.default_rng(0).integers(0, 256, (4, 3, 130, 70, 3), np.uint8)
    assert measure_generated(make_thumbnails(noise), 2).seeds < 0.3 * np.sqrt(2) * noise.std()


def test_ratios_are_relative_to_real_clips():
    variety = Variety(Differences(10.0, 1.0), Differences(40.0, 5.0))
    assert (variety.prompts, variety.seeds) == (0.25, 0.2)
    unique = Variety(Differences(10.0, 1.0), Differences(40.0, None))
    assert unique.seeds == 1 / 40, "captions that occur once: relative to other prompts"
    still = Variety(Differences(10.0, 1.0), Differences(0.0, None))
    assert (still.prompts, still.seeds) == (None, None), "real clips do not differ"


def test_real_clips_are_read_from_shards(tmp_path):
    data = write_dataset(tmp_path, ["a", "a", "b", "b"], levels=(10, 20, 110, 120))
    assert read_real_differences([open_dataset(str(data))]) == measure_real(
        grey(10, 20, 110, 120), ["a", "a", "b", "b"]
    )
