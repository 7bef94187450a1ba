"""Schedules at the points where their formulas are plain."""

from dataclasses import replace
from operator import sub

import pytest
import torch

from t2vgan.config import TrainConfig
from t2vgan.config.presets import PRESETS
from t2vgan.gan.schedules import (
    compute_progress,
    compute_schedule,
    cosine,
    ema_halflife,
    log_linear,
    noise_every_steps,
)


def test_cosine_holds_then_falls_by_half_a_cosine():
    assert cosine(0.0, start=2.0, end=1.0, hold=0.4) == 2.0
    assert cosine(0.4, start=2.0, end=1.0, hold=0.4) == 2.0
    assert cosine(0.7, start=2.0, end=1.0, hold=0.4) == pytest.approx(1.5)
    assert cosine(0.5, start=2.0, end=1.0) == pytest.approx(1.5)
    assert cosine(0.25, start=1.0, end=0.0) == pytest.approx((1 + 2**-0.5) / 2)
    assert cosine(1.0, start=2.0, end=1.0, hold=0.4) == pytest.approx(1.0)
    assert cosine(1.0, start=2.0, end=1.0, hold=1.0) == 2.0


def test_a_cosine_reaches_its_end_where_it_is_told():
    assert cosine(0.3, start=0.0, end=2.0, hold=0.1, until=0.5) == pytest.approx(1.0)
    assert cosine(0.5, start=0.0, end=2.0, hold=0.1, until=0.5) == 2.0
    assert cosine(0.5, start=0.0, end=2.0, hold=0.5, until=0.5) == 0.0
    assert cosine(0.51, start=0.0, end=2.0, hold=0.5, until=0.2) == 2.0


def test_both_learning_rates_fall_by_the_same_factor_and_beta2_rises():
    train = TrainConfig(
        generator_lr=2e-3, discriminator_lr=1e-3, lr_hold=0.4, lr_final=0.1,
        beta1=0.2, beta2_start=0.8, beta2_end=0.9,
    )  # fmt: skip
    for progress, factor in ((0.0, 1.0), (0.4, 1.0), (0.7, 0.55), (1.0, 0.1)):
        schedule = compute_schedule(train, 0.0, 1, progress)
        rates = schedule.generator_lr, schedule.discriminator_lr
        assert rates == pytest.approx((2e-3 * factor, 1e-3 * factor))
    schedules = [compute_schedule(train, 0.0, 1, progress) for progress in (0.0, 0.5, 1.0)]
    assert [schedule.beta1 for schedule in schedules] == [0.2, 0.2, 0.2]
    assert [schedule.beta2 for schedule in schedules] == pytest.approx([0.8, 0.85, 0.9])


def test_the_weight_of_recovery_rises_with_the_fall_of_the_rates_or_when_it_is_told_to():
    def weights(**options):
        train = TrainConfig(recovery_weight=2.0, lr_hold=0.4, **options)
        return [compute_schedule(train, 0.0, 1, p).recovery_weight for p in (0.1, 0.2, 0.7, 1.0)]

    assert weights() == pytest.approx([0, 0, 1, 2])
    assert weights(recovery_until=0.7) == pytest.approx([0, 0, 2, 2])
    assert weights(recovery_hold=0.0, recovery_until=0.2) == pytest.approx([1, 2, 2, 2])


def test_the_camera_moves_as_the_rates_fall():
    train = TrainConfig(lr_hold=0.4, recovery_hold=0.0, recovery_until=0.2)
    stds = [compute_schedule(train, 2.0, 1, progress).camera_std for progress in (0.4, 0.7, 1.0)]
    assert stds == pytest.approx([0, 1, 2])


@pytest.mark.parametrize("num_clips", [1, 8, 50, 1000])
def test_the_weights_of_past_values_halve_every_halflife(num_clips):
    train = TrainConfig(global_batch_size=num_clips, ema_halflife_clips=1000.0, ema_rampup=0.0)
    weight = compute_schedule(train, 0.0, 3, 0.5).ema_weight
    assert (1 - weight) ** (1000 // num_clips) == pytest.approx(0.5, rel=1e-12)


def test_the_halflife_is_capped_by_the_clips_seen():
    train = TrainConfig(global_batch_size=25, ema_halflife_clips=500.0, ema_rampup=0.05)
    assert [ema_halflife(train, clips) for clips in (0, 1000, 10_000, 10**6)] == [0, 50, 500, 500]
    first, later = (compute_schedule(train, 0.0, step, 0.0) for step in (0, 40))
    assert first.ema_weight == 1.0, "nothing of the random start is left"
    assert later.ema_halflife == later.metrics()["ema/halflife"] == 50
    assert later.ema_weight == pytest.approx(1 - 0.5**0.5)


def test_without_rampup_the_halflife_is_constant():
    train = TrainConfig(ema_halflife_clips=500.0, ema_rampup=0.0)
    assert ema_halflife(train, 0) == 500


def test_the_penalty_has_the_weight_of_all_steps_in_every_nth():
    train = TrainConfig(penalty_every_steps=4, gamma_start=8, gamma_end=2, gamma_until=0.5)
    schedules = [compute_schedule(train, 0.0, step, 0.25) for step in range(6)]
    assert [s.gamma for s in schedules] == pytest.approx([4] * 6)
    assert [s.penalty_weight for s in schedules] == pytest.approx([16, 0, 0, 0, 16, 0])
    assert [s.is_penalised for s in schedules] == [True, False, False, False, True, False]
    assert replace(schedules[1], penalty_weight=torch.zeros(())).is_penalised
    every = compute_schedule(replace_options(train, penalty_every_steps=1), 0.0, 3, 0.25)
    assert (every.gamma, every.penalty_weight) == pytest.approx((4, 4))
    never = compute_schedule(replace_options(train, penalty_every_steps=0), 0.0, 0, 0.25)
    assert (never.gamma, never.penalty_weight, never.is_penalised) == (0, 0, False)


def replace_options(train: TrainConfig, **options) -> TrainConfig:
    return TrainConfig(**train.model_dump() | options)


def test_only_the_approximate_penalty_needs_noise():
    for penalty, steps in (("approximate", 4), ("exact", 0)):
        assert noise_every_steps(TrainConfig(penalty=penalty, penalty_every_steps=4)) == steps


def test_scheduled_values_are_recorded_by_their_names():
    train = TrainConfig(
        generator_lr=2e-3, discriminator_lr=1e-3, beta1=0.2, beta2_start=0.8,
        gamma_start=8, gamma_end=8, recovery_weight=2.0, recovery_hold=0.0, recovery_until=0.5,
    )  # fmt: skip
    expected = {
        "lr/generator": 2e-3, "lr/discriminator": 1e-3, "beta2": 0.8, "gamma": 8.0,
        "recovery/weight": 0.0, "ema/halflife": 0.0,
    }  # fmt: skip
    assert compute_schedule(train, 0.0, 0, 0.0).metrics() == pytest.approx(expected)
    recorded = replace(
        compute_schedule(train, 1.0, 0, 0.0), recovery_weight=torch.tensor(0.5)
    ).metrics()
    assert recorded == pytest.approx(expected | {"recovery/weight": 0.5, "camera/std": 0.0})
    assert all(type(value) is float for value in recorded.values())


@pytest.mark.parametrize("preset", [n for n, c in PRESETS.items() if c.train.recovered_latents])
def test_no_preset_makes_the_weight_of_recovery_jump(preset):
    train = PRESETS[preset].train
    steps = [
        compute_schedule(train, 0.0, 1, progress / 100).recovery_weight for progress in range(101)
    ]
    assert max(map(sub, steps[1:], steps)) <= 0.2 * train.recovery_weight
    assert steps[-1] == train.recovery_weight


def test_after_the_end_a_cosine_stays_as_it_is_there():
    """A dry run tries its steps however short the run is."""
    assert cosine(1.5, start=2.0, end=1.0) == cosine(1.0, start=2.0, end=1.0)
    assert cosine(1.5, start=2.0, end=1.0, hold=1.0) == 2.0


def test_log_linear_multiplies_by_equal_factors():
    assert log_linear(0.0, start=8.0, end=2.0, until=0.5) == 8.0
    assert log_linear(0.25, start=8.0, end=2.0, until=0.5) == pytest.approx(4.0)
    assert log_linear(0.5, start=8.0, end=2.0, until=0.5) == 2.0
    assert log_linear(0.9, start=8.0, end=2.0, until=0.5) == 2.0


def test_progress_of_one_length_is_the_share_of_its_steps():
    assert [compute_progress([(0, 40)], step) for step in (0, 10, 40, 60)] == [0, 0.25, 1, 1]


def test_a_new_length_is_reached_within_a_warm_up_and_without_a_jump():
    lengths = [(0, 40), (40, 140)]  # finished, then 100 steps more: a warm-up of 10
    assert compute_progress(lengths, 39) == 39 / 40, "steps before it are as they were"
    assert compute_progress(lengths, 40) == 1.0
    assert compute_progress(lengths, 45) == pytest.approx((1.0 + 45 / 140) / 2)
    assert [compute_progress(lengths, step) for step in (50, 70)] == [50 / 140, 70 / 140]
    assert compute_progress(lengths, 140) == 1.0
    again = [*lengths, (45, 60)]
    assert compute_progress(again, 45) == compute_progress(lengths, 45)
    assert compute_progress(again, 47) == 47 / 60
    assert compute_progress([(0, 40), (40, 42)], 41) == 41 / 42, "of few steps the first is enough"
