"""Steps that are not finite."""

from collections.abc import Sequence

import pytest

from t2vgan.errors import UserError
from t2vgan.training.health.nonfinite import NonFiniteSteps, NonFiniteStop, nonfinite_error


class Flags:
    """Stands in for training whose flags are known."""

    def __init__(self) -> None:
        self.flags: dict[str, list[bool]] = {}
        self.context = self

    def gather_objects(self, value):
        return [value, ["from rank 1"]]

    def gather_nonfinite(self):
        return self.flags


@pytest.fixture
def steps() -> NonFiniteSteps:
    return NonFiniteSteps(Flags(), 3)


def gather(
    steps: NonFiniteSteps, generator: Sequence[bool], discriminator: Sequence[bool], first: int = 0
) -> list[str]:
    steps.gan.flags = {"generator": [*generator], "discriminator": [*discriminator]}
    for step in range(first, first + len(generator)):
        steps.add_step(step, [f"clip {step}"])
    return steps.gather()


def test_they_are_counted_by_network_and_named_with_their_samples(steps):
    messages = gather(steps, [False, True, True], [False, False, True], first=10)
    assert messages == [
        "step 11 was not applied to the generator: loss or gradient is not finite; its clips:"
        " clip 11, from rank 1",
        "step 12 was not applied to the discriminator and the generator: loss or gradient is not"
        " finite; its clips: clip 12, from rank 1",
    ]
    assert steps.counts == {"generator": 2, "discriminator": 1}
    assert steps.total == 3
    assert steps.in_a_row == 2


def test_a_row_goes_on_across_gathers_and_ends_with_a_finite_step(steps):
    for _ in range(2):
        gather(steps, [True], [False])
        assert not steps.are_too_many
    gather(steps, [True, False], [False, False])
    assert steps.are_too_many, "three in a row, whatever came after"
    steps.in_a_row = 2
    gather(steps, [False, True], [False, False])
    assert steps.in_a_row == 1


def test_rolling_back_again_gives_the_same_order(tmp_path):
    with pytest.raises(UserError, match="omit --rollback"):
        NonFiniteStop.read(tmp_path)
    NonFiniteStop(step=7, rollbacks=0).write(tmp_path)
    stop = NonFiniteStop.read(tmp_path)
    assert stop.rollbacks_after(0) == 1
    assert stop.rollbacks_after(1) == 1, "a checkpoint saved since then says so"
    NonFiniteStop(step=7, rollbacks=1).write(tmp_path)
    assert NonFiniteStop.read(tmp_path).rollbacks_after(1) == 2


def test_a_stop_names_where_a_rollback_continues():
    assert "continues from the start," in str(nonfinite_error(3, 2, None))
    assert "continues from the last good checkpoint, of step 4," in str(nonfinite_error(3, 6, 4))
