"""Bad samples: named, counted and limited; every rank's wish to stop counts."""

import pytest

from t2vgan.config.presets import PRESETS
from t2vgan.data.shard_reader import BadSample
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.training.health.faults import NAMED_PER_REASON, BadSamples, FaultMonitor
from t2vgan.training.health.nonfinite import NonFiniteStop
from t2vgan.training.state import TrainState

CONFIG = PRESETS["quickstart"]


def bad(reason: str = "damaged") -> BadSample:
    return BadSample("a.tar", "#7", reason, "why")


def test_the_first_of_each_reason_are_named_and_all_are_counted():
    samples = BadSamples(CONFIG.data)
    messages = samples.update([bad()] * (NAMED_PER_REASON + 2) + [bad("missing")])
    assert messages[0] == "bad sample #7 in a.tar: damaged: why; a neighbour takes its place"
    assert len(messages) == NAMED_PER_REASON + 1
    assert samples.counts == {"damaged": NAMED_PER_REASON + 2, "missing": 1}
    assert samples.total == NAMED_PER_REASON + 3


def test_one_is_borne_and_then_a_share_of_the_clips():
    samples = BadSamples(CONFIG.data.model_copy(update={"max_bad_fraction": 0.01}))
    samples.update([bad()])
    samples.check(1, bad())
    samples.update([bad()])
    samples.check(200, bad())
    with pytest.raises(UserError, match=r"2 of 199 clips could not be used \(damaged 2\)"):
        samples.check(199, bad())


def test_a_resumed_run_goes_on_counting():
    monitor = FaultMonitor(CONFIG, DistributedContext(num_cpu_threads=1), *[None] * 4)
    monitor.load(TrainState(data_fingerprint="", bad_clips={"damaged": 3}, rollbacks=2))
    assert monitor.count() == {"data/bad_samples": 3, "bad_steps": 0}
    assert monitor.rollbacks == 2
    monitor.roll_back(NonFiniteStop(step=5, rollbacks=2))
    assert monitor.rollbacks == 3
    assert monitor.exchange(True, [])
    assert not monitor.exchange(False, [])
