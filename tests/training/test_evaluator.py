"""Which of several evaluations counts as the best."""

import pytest

from t2vgan.evaluation.clip_numbers import Agreement
from t2vgan.evaluation.scores import may_reach
from t2vgan.training.evaluator import cap_at_real


def agreement(accuracy: float | None) -> Agreement:
    return Agreement(
        kind="prompt",
        num_names=16,
        num_clips=256,
        accuracy=accuracy,
        accuracy_interval=None,
        real=0.95,
        real_prompts_shuffled=0.1,
        real_frames_shuffled=0.5,
        confusion={},
        real_confusion={},
    )


@pytest.mark.parametrize(
    ("found", "counted"),
    [(agreement(0.8), 0.8), (agreement(1.0), 0.95), (agreement(None), -1.0), (None, -1.0)],
)
def test_an_agreement_counts_up_to_that_of_real_clips(found, counted):
    assert cap_at_real(found) == counted


def test_clips_more_typical_than_real_ones_do_not_stay_the_best():
    """On filmed videos step 2,000 was named at 100 %, and the end, far more varied, at 96 %."""
    early, last = (cap_at_real(agreement(value)) for value in (1.0, 0.96))
    assert may_reach(early, last, 256)
    assert not may_reach(1.0, 0.96, 256)
