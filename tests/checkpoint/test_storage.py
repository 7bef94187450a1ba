"""Checkpoints are published whole, and the newest are kept."""

import pytest

from t2vgan.checkpoint.state_dict import find_latest_step
from tests.support.saved_runs import Run, assert_same, contents, flip_last_bit, names, steps


def test_a_published_step_is_never_overwritten(tmp_path):
    folder = Run(seed=0).save(tmp_path, 5)
    before = contents(folder)
    assert Run(seed=1).train(range(2)).save(tmp_path, 5) == folder
    assert contents(folder) == before


def test_a_damaged_step_makes_way_for_its_successor(tmp_path):
    flip_last_bit(Run(seed=0).save(tmp_path, 5) / "generator.safetensors")
    again = Run(seed=0)
    again.save(tmp_path, 5)
    assert names(tmp_path) == {"step_00000005", "damaged-step_00000005"}
    restored = Run(seed=1)
    restored.load(tmp_path)
    assert_same(restored, again)


@pytest.mark.parametrize(
    ("keep", "protect", "kept"),
    [
        (2, (), [40, 50]),
        (3, (), [30, 40, 50]),
        (1, (), [40, 50]),
        (0, (), [40, 50]),
        (2, {10, 30}, [10, 30, 40, 50]),
        (2, {50, 99}, [40, 50]),
        (9, (), [10, 20, 30, 40, 50]),
    ],
)
def test_retention_keeps_the_newest_and_the_protected(tmp_path, keep, protect, kept):
    run = Run()
    for step in (10, 20, 30, 40, 50):
        run.save(tmp_path, step, keep=keep, protect=protect)
    assert steps(tmp_path) == kept
    assert names(tmp_path) == {f"step_{step:08d}" for step in kept}


def test_retention_never_takes_the_one_just_saved(tmp_path):
    run = Run()
    for step in (100, 200, 300, 50):  # 50: a run that went back
        run.save(tmp_path, step)
    assert steps(tmp_path) == [50, 200, 300]


def test_steps_beyond_eight_digits_stay_in_order(tmp_path):
    run = Run()
    for step in (99_999_999, 100_000_000, 100_000_001):
        run.save(tmp_path, step)
    assert find_latest_step(tmp_path) == 100_000_001
    assert steps(tmp_path) == [100_000_000, 100_000_001]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OSError, match="checkpoints"):
        Run().save(tmp_path, 1)


def test_a_good_checkpoint_that_is_not_wanted_is_set_aside(tmp_path):
    run = Run().train(range(1))
    for step in (1, 2):
        run.save(tmp_path, step)
    assert find_latest_step(tmp_path, lambda state: state["step"] < 2) == 1
    assert find_latest_step(tmp_path) == 1
    assert (tmp_path / "checkpoints" / "unwanted-step_00000002").is_dir()
