"""What schedules do when the number of steps changed, and what the run logs of it."""

import itertools
import json

import pytest

from t2vgan.config import Config, TrainConfig
from t2vgan.gan.schedules import compute_progress, compute_schedule
from t2vgan.training.lengthening import adapt_lengths
from t2vgan.training.run_dir import read_lengths, write_run_files


def rates(train: TrainConfig, lengths: list[tuple[int, int]], step: int) -> float:
    return compute_schedule(train, 0.0, step, compute_progress(lengths, step)).generator_lr


def test_the_same_length_changes_nothing():
    assert adapt_lengths([(0, 40)], TrainConfig(num_steps=40), 20) == ([(0, 40)], "")


def test_by_default_rates_stay_at_the_values_of_the_end():
    train = TrainConfig(num_steps=100, generator_lr=0.1, discriminator_lr=0.2, lr_final=0.1)
    lengths, message = adapt_lengths([(0, 40)], train, 40)
    assert lengths == [(0, 40)]
    assert [rates(train, lengths, step) for step in (40, 41, 99)] == [pytest.approx(0.01)] * 3
    assert "keeps its length of 40 steps" in message
    assert "learning rates 0.01 and 0.02 from step 40 on" in message
    assert "--train.lengthening stretch" in message
    shorter, message = adapt_lengths([(0, 400)], train, 20)
    assert shorter == [(0, 400)]
    assert "keeps its length of 400 steps" in message
    assert "from step 100 on" in message


def test_a_stretched_schedule_rises_again_without_a_jump():
    train = TrainConfig(
        num_steps=140, lengthening="stretch", generator_lr=0.1, lr_final=0.1, lr_hold=0.4
    )
    lengths, message = adapt_lengths([(0, 40)], train, 40)
    assert lengths == [(0, 40), (40, 140)]
    values = [rates(train, lengths, step) for step in range(40, 141)]
    assert values[0] == pytest.approx(0.01)
    assert max(values) == pytest.approx(0.1)
    assert values[-1] == pytest.approx(0.01)
    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.02
    assert "learning rates 0.01 and 0.0001 at step 40" in message
    assert adapt_lengths(lengths, train, 60) == (lengths, ""), "a killed run does it once"


def test_a_checkpoint_without_lengths_has_those_of_the_folder(tmp_path):
    config = Config(run_dir=tmp_path, train=TrainConfig(num_steps=40))
    write_run_files(config, {})
    assert read_lengths(tmp_path) == [(0, 40)]
    longer = config.model_copy(update={"train": TrainConfig(num_steps=90)})
    write_run_files(longer, {"schedule_lengths": [(0, 40), (40, 90)]})
    assert read_lengths(tmp_path) == [(0, 40), (40, 90)]
    assert json.loads((tmp_path / "run.json").read_text())["schedule_lengths"]
