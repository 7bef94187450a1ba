"""Steps that go bad and games that go dull."""

import pytest

from t2vgan.errors import UserError
from t2vgan.training.collapse import CollapseMonitor
from t2vgan.training.nonfinite import NonFiniteSteps, read_bad_stop, record_bad_stop
from t2vgan.training.state import TrainState


class Sides:
    """Stands in for a game whose flags are known."""

    def __init__(self, **flags: list[bool]):
        self.flags = flags
        self.processes = self

    def gather_objects(self, value):
        return [value, ["from rank 1"]]

    def read_bad(self):
        return self.flags


def read(state: TrainState, first_step: int, max_in_a_row: int = 3, **flags: list[bool]):
    bad_steps = NonFiniteSteps(Sides(**flags), state, max_in_a_row)
    for step in range(first_step, first_step + len(flags["generator"])):
        bad_steps.remember(step, [f"clip {step}"])
    return bad_steps.read(), bad_steps


def new_state() -> TrainState:
    return TrainState(data_fingerprint="")


def test_bad_steps_are_counted_by_network_and_named_with_their_clips():
    state = new_state()
    messages, _ = read(state, 10, generator=[False, True, True], discriminator=[False, False, True])
    assert messages == [
        "step 11 was not applied to the generator: loss or gradient is not finite; its clips:"
        " clip 11, from rank 1",
        "step 12 was not applied to the discriminator and the generator: loss or gradient is not"
        " finite; its clips: clip 12, from rank 1",
    ]
    assert state.bad_steps == {"generator": 2, "discriminator": 1}
    assert state.bad_steps_in_a_row == 2


def test_a_row_of_bad_steps_goes_on_across_readings_and_ends_with_a_good_step():
    state = new_state()
    for _ in range(2):
        _, bad_steps = read(state, 0, generator=[True], discriminator=[False])
        assert not bad_steps.are_too_many
    _, bad_steps = read(state, 0, generator=[True, False], discriminator=[False, False])
    assert bad_steps.are_too_many, "three in a row, whatever came after"
    state.bad_steps_in_a_row = 2
    _, bad_steps = read(state, 0, generator=[False, True], discriminator=[False, False])
    assert state.bad_steps_in_a_row == 1


def test_rolling_back_again_takes_the_same_order(tmp_path):
    state = new_state()
    with pytest.raises(UserError, match="leave --rollback out"):
        read_bad_stop(tmp_path)
    record_bad_stop(tmp_path, state)
    stop = read_bad_stop(tmp_path)
    assert stop.rollbacks_after(0) == 1
    assert stop.rollbacks_after(1) == 1, "a checkpoint saved since then says so"
    state.rollbacks = 1
    record_bad_stop(tmp_path, state)
    assert read_bad_stop(tmp_path).rollbacks_after(1) == 2


def test_a_saturated_discriminator_is_said_once_per_spell():
    alarms = CollapseMonitor()

    def hear(loss: float, times: int) -> list[bool]:
        return [alarms.hear_losses({"loss/discriminator": loss}) is not None for _ in range(times)]

    assert hear(0.5, 5) == [False] * 5
    assert hear(0.001, 7) == [False] * 4 + [True] + [False] * 2
    assert hear(0.5, 1) == [False]
    assert hear(0.001, 6) == [False] * 4 + [True, False]


def test_collapse_is_said_once_per_spell():
    alarms = CollapseMonitor()
    heard = [alarms.hear_diversity(value) for value in (0.4, None, 0.05, 0.04, 0.2, 0.05)]
    assert [message is not None for message in heard] == [False, False, True, False, False, True]
    assert "collapsed" in heard[2]
