"""Alarms: when each is raised, when it is over, and what a resumed run remembers."""

import math

import pytest

from t2vgan.config import TrainConfig
from t2vgan.training.health.alarms import FINDINGS, AlarmMonitor
from t2vgan.training.health.variety import Differences, Variety

LOG2 = math.log(2)
HEALTHY = {
    "loss/discriminator": 0.5, "loss/generator": 0.9, "gradient_norm/video": 0.1,
    "recovery/loss": 0.3,
}  # fmt: skip


def monitor(**train) -> AlarmMonitor:
    return AlarmMonitor(TrainConfig(**train), num_values=10_000)


def changes(alarms: AlarmMonitor, progress: float, times: int, **metrics) -> list[str]:
    """Return what changes in some equal records in a row."""
    record = HEALTHY | {name.replace("_", "/", 1): value for name, value in metrics.items()}
    found = [alarms.check_metrics(record, progress) for _ in range(times)]
    return [
        f"{number}: {change.name}{' over' * change.is_over}"
        for number, part in enumerate(found, start=1)
        for change in part
    ]


def variety(prompts: float | None, seeds: float | None) -> Variety:
    return Variety(Differences(prompts, seeds), Differences(1.0, 1.0))


def test_a_saturated_discriminator_raises_one_alarm_per_spell():
    alarms = monitor()
    assert changes(alarms, 0.1, 5) == []
    assert changes(alarms, 0.1, 7, loss_discriminator=0.001) == ["5: saturated_discriminator"]
    assert changes(alarms, 0.1, 2) == ["1: saturated_discriminator over"]
    assert changes(alarms, 0.1, 6, loss_discriminator=0.001) == ["5: saturated_discriminator"]


@pytest.mark.parametrize(("loss", "both"), [("relativistic", 1), ("non_saturating", 2), ("bce", 2)])
def test_blind_is_who_scores_all_alike_and_sends_no_gradient(loss, both):
    alarms = monitor(loss=loss)
    indifferent = {"loss_discriminator": both * LOG2 + 0.005, "loss_generator": LOG2 - 0.005}
    record = HEALTHY | {"loss/discriminator": both * LOG2, "loss/generator": LOG2}
    assert changes(alarms, 0.1, 20, **indifferent) == [], "the pixels have a gradient"
    blind = record | {"gradient_norm/video": 4e-4}  # 0.04 for a step of one std in all pixels
    found = [alarms.check_metrics(blind, 0.1) for _ in range(12)]
    assert [bool(part) for part in found] == [False] * 6 + [True] + [False] * 5
    assert found[6][0].name == "blind_discriminator"
    spike = {"loss_discriminator": 70.0}
    assert changes(alarms, 0.1, 3, **spike) == [], "a step that explodes does not end it"
    assert changes(alarms, 0.1, 1, **spike) == ["1: blind_discriminator over"]


def test_latents_must_be_recovered_once_the_loss_counts():
    alarms = monitor(lr_hold=0.4)
    assert changes(alarms, 0.6, 9, recovery_loss=0.99) == []
    assert changes(alarms, 0.7, 9, recovery_loss=0.99) == ["5: latents_not_recovered"]
    assert changes(alarms, 0.9, 1) == ["1: latents_not_recovered over"]
    without = {name: value for name, value in HEALTHY.items() if name != "recovery/loss"}
    assert alarms.check_metrics(without, 1.0) == []


@pytest.mark.parametrize(
    ("train", "late"),
    [
        ({"recovery_hold": 0.1, "recovery_until": 0.3}, 0.5),  # not in a run's first half
        ({"recovery_hold": 0.9, "lr_hold": 0.1}, 0.95),
        ({"recovery_hold": 0.6, "recovery_until": 0.8}, 0.7),
        ({"recovery_hold": 0.6, "recovery_until": 0.3}, 0.6),  # all at once
    ],
)
def test_variety_is_asked_for_when_the_weight_of_recovery_has_risen(train, late):
    alarms = monitor(**train)
    assert changes(alarms, late - 0.01, 9, recovery_loss=0.99) == []
    assert alarms.check_variety(variety(1.0, 0.01), late - 0.01) == []
    assert changes(alarms, late, 9, recovery_loss=0.99) == ["5: latents_not_recovered"]
    (seeds,) = alarms.check_variety(variety(1.0, 0.01), late)
    assert seeds.name == "seeds_ignored"


@pytest.mark.parametrize("train", [{"recovery_weight": 0.0}, {"mode_seeking_weight": 0.1}])
def test_latents_need_not_be_recovered_where_nothing_or_another_loss_varies_clips(train):
    alarms = monitor(**train)
    assert changes(alarms, 1.0, 9, recovery_loss=1.0) == []


def test_prompts_and_seeds_must_make_a_difference_when_their_time_has_come():
    alarms = monitor(lr_hold=0.4)
    assert alarms.check_variety(variety(0.01, 0.01), 0.2) == []
    assert [c.name for c in alarms.check_variety(variety(0.01, 0.01), 0.3)] == ["prompts_ignored"]
    (seeds,) = alarms.check_variety(variety(0.01, 0.01), 0.7)
    assert (seeds.name, seeds.is_over) == ("seeds_ignored", False)
    assert "--train.recovery-weight" in seeds.message
    assert alarms.check_variety(variety(None, None), 0.8) == [], "not measured: nothing is known"
    over = alarms.check_variety(variety(0.9, 0.9), 0.9)
    assert {(c.name, c.is_over) for c in over} == {
        ("prompts_ignored", True), ("seeds_ignored", True),
    }  # fmt: skip
    assert alarms.active == []


def test_a_resumed_run_goes_on_counting_and_does_not_repeat():
    before, after = monitor(), monitor()
    assert changes(before, 0.1, 4, loss_discriminator=0.001) == []
    after.load_state_dict(before.state_dict())
    assert changes(after, 0.1, 3, loss_discriminator=0.001) == ["1: saturated_discriminator"]


def test_every_finding_names_options_that_exist():
    fields = TrainConfig.model_fields
    for finding in FINDINGS.values():
        options = [part for part in finding.remedy.split() if part.startswith("--train.")]
        assert options
        for option in options:
            assert option.strip(",").removeprefix("--train.").replace("-", "_") in fields
