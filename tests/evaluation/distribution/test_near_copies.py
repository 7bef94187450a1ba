"""Near copies, planted among clips that are none."""

from decimal import Decimal

import numpy as np
import pytest

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import circles
from t2vgan.data.dataset import open_dataset
from t2vgan.data.mixture import mix_datasets, single_dataset
from t2vgan.data.shards import Geometry
from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.distribution.near_copies import (
    compute_near_copies,
    even_frame_indices,
    find_near_copies,
    make_thumbnails,
    nearest_distances,
)
from t2vgan.evaluation.real_clips import RealClips

GEOMETRY = Geometry(num_frames=10, height=32, width=48)
NUM_TRAINING, NUM_NEW, NUM_PLANTED = 400, 150, 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circles")
    build(BuildPlan("circles", NUM_TRAINING, 150, GEOMETRY, 0), folder, num_workers=1)
    return folder


def test_planted_copies_are_found_and_new_clips_are_not(data):
    real = RealClips(single_dataset(open_dataset(data)), NUM_TRAINING)
    frames, _ = real.read(range(NUM_TRAINING))
    new = circles.render_clips(range(NUM_NEW), 99, GEOMETRY).frames
    rng = np.random.default_rng(0)
    planted = frames[-NUM_PLANTED:].astype(int) + rng.integers(-3, 4, (NUM_PLANTED, 10, 32, 48, 3))
    generated = np.concatenate([new, planted.clip(0, 255).astype(np.uint8)])
    context = DistributedContext(num_cpu_threads=1)
    copies = find_near_copies(make_thumbnails(generated), make_thumbnails(frames), real, context)
    assert copies.num_training_clips == NUM_TRAINING
    assert copies.share_of_real == pytest.approx(0.01, abs=0.006)
    share_planted = NUM_PLANTED / (NUM_NEW + NUM_PLANTED)
    assert share_planted <= copies.share <= share_planted + 0.05
    assert copies.share_interval[0] < copies.share < copies.share_interval[1]
    few = make_thumbnails(frames[:99])
    assert find_near_copies(few, few, real, context) is None


def test_every_part_of_a_mixture_gives_its_share_of_real_clips(data, tmp_path):
    build(BuildPlan("circles", 60, 20, GEOMETRY, 1), tmp_path, num_workers=1)
    parts = [open_dataset(folder) for folder in (data, tmp_path)]
    mixture = mix_datasets({"a": (parts[0], Decimal(1)), "b": (parts[1], Decimal(1))})
    clips, more = RealClips(mixture, 80), RealClips(mixture, 300)
    assert (clips.num_clips, more.num_clips) == (80, 150 + 60)  # all that b has
    frames, prompts = clips.read(range(30, 80))
    for part, own in ((parts[0], slice(0, 10)), (parts[1], slice(10, 50))):
        start = 30 if part is parts[0] else 0
        count = own.stop - own.start
        expected = RealClips(single_dataset(part), 40).read(range(start, start + count))
        assert (frames[own] == expected[0]).all()
        assert prompts[own] == expected[1]
    assert clips.indices_in(more).tolist() == [*range(40), *range(150, 190)]
    assert more.indices_in(clips).tolist() == [*range(40), *[-1] * 110, *range(40, 80), *[-1] * 20]
    found, _ = more.read(clips.indices_in(more)[40:])
    assert (found == frames[10:]).all()


def test_the_nearest_is_found_and_no_clip_is_its_own_copy():
    pool = np.array([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
    queries = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert nearest_distances(queries, pool).tolist() == [0, 0]
    apart = nearest_distances(queries, pool, same=np.array([1, 7]))
    assert apart == pytest.approx([5 / np.sqrt(2), 0], abs=1e-3)


def test_thumbnails_are_area_means_of_four_even_frames():
    assert even_frame_indices(16, 4).tolist() == [0, 5, 10, 15]
    assert even_frame_indices(3, 4).tolist() == [0, 1, 1, 2]
    assert even_frame_indices(1, 4).tolist() == [0] * 4
    stripes = np.tile([0, 100], 24)[:, None] * np.ones(3, int)  # 48 columns of the two colours
    clip = stripes + 10 * np.arange(10)[:, None, None, None] + np.zeros((24, 1, 1), int)
    thumbnails = make_thumbnails(np.stack([clip, clip + 1]).astype(np.uint8))
    expected = np.repeat([50, 80, 110, 140], 12 * 12 * 3)
    assert thumbnails.tolist() == [expected.tolist(), (expected + 1).tolist()]


def test_data_that_repeat_themselves_are_known_by_their_real_clips():
    copies = compute_near_copies(np.array([0.0, 0.0, 5.0]), np.zeros(200), 200)
    assert copies.threshold == 0
    assert copies.share_of_real == 1
    assert copies.share == pytest.approx(2 / 3)


def test_the_threshold_is_the_distance_of_a_real_clip():
    copies = compute_near_copies(np.array([1.0, 1.5, 7.0, 0.0]), np.arange(200.0), 9)
    assert (copies.threshold, copies.share, copies.share_of_real) == (1, 0.5, 0.01)
    assert copies.num_training_clips == 9
