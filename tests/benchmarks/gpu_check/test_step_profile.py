"""The arithmetic of step profiles, and of a run that must fit its time."""

from pathlib import Path

import pytest

from benchmarks.gpu_check import step_profile
from benchmarks.gpu_check.items import AS_THEY_ARE, COMPILED, TINY
from benchmarks.gpu_check.step_profile import EAGER, WAYS, finish, mean_over_kinds, read_presets
from benchmarks.gpu_check.steps import read_config
from benchmarks.gpu_check.timed_training import SPARE, fit_steps
from t2vgan.errors import UserError

CEILINGS = {"copy_gb_per_second": 1000.0, "matmul_tflops": {"float32": 10.0, "bfloat16": 100.0}}


def step(flops: dict[str, float], gigabytes: float, busy_ms: float) -> dict:
    return {
        "gflop_by_type": flops,
        "gflop": sum(flops.values()),
        "gigabytes": gigabytes,
        "busy_ms": busy_ms,
    }


def test_the_floor_is_that_of_the_slower_unit_in_each_kind_of_step():
    eager = {
        "step_ms": 20.0,
        "penalty_every_steps": 4,
        "plain": step({"bfloat16": 100.0, "float32": 10.0}, 1.0, 4.0),  # 1 + 1 ms; 1 ms
        "penalised": step({"float32": 30.0}, 10.0, 12.0),  # 3 ms; 10 ms
    }
    fast = {"step_ms": 8.0, "penalty_every_steps": 4, "plain": {}, "penalised": {}}
    found = {"ceilings": CEILINGS, "ways": {EAGER: eager, "fast": fast, "bad": {"error": "no"}}}
    finish(found)
    assert found["floor_ms"] == pytest.approx((3 * 2 + 10) / 4)
    assert eager["share_of_floor"] == pytest.approx(4 / 20)
    assert fast["share_of_floor"] == pytest.approx(4 / 8)
    assert eager["busy_share"] == pytest.approx((3 * 4 + 12) / 4 / 20)
    assert "busy_share" not in fast, "there was no GPU"
    assert eager["tflops"] == pytest.approx((3 * 110 + 30) / 4 / 20)


def test_a_run_without_the_penalty_has_one_kind_of_step():
    assert mean_over_kinds({"penalty_every_steps": 0, "plain": {"gflop": 3.0}}, "gflop") == 3.0


def test_ways_join_those_that_the_same_check_profiled_before(tmp_path, monkeypatch):
    def profile(content: dict, *_) -> None:
        content |= {"step_ms": 20.0, "penalty_every_steps": 0, "plain": step({}, 5.0, 4.0)}

    monkeypatch.setattr(step_profile, "profile", profile)
    monkeypatch.setattr(step_profile, "measure_ceilings", lambda device: CEILINGS)
    monkeypatch.setenv("BENCHMARK_RESULTS", str(tmp_path))
    monkeypatch.setenv("BENCHMARK_CHECK", "this one")
    assert step_profile.run("shapes", Path("data"), ways=("compiled",)) == 0
    assert "share_of_floor" not in read_presets()["shapes"]["ways"]["compiled"]
    for way in (EAGER, "graphs"):
        step_profile.run("shapes", Path("data"), ways=(way,))
    ways = read_presets()["shapes"]["ways"]
    assert {name: way["share_of_floor"] for name, way in ways.items()} == dict.fromkeys(
        ("compiled", EAGER, "graphs"), 5 / 20
    )
    monkeypatch.setenv("BENCHMARK_CHECK", "another one")
    assert not read_presets()


def test_the_check_runs_every_way_of_shapes():
    ways = AS_THEY_ARE + COMPILED
    assert sorted(ways) == sorted(WAYS)
    assert ways[0] == EAGER, "what the others are relative to"


@pytest.mark.parametrize("preset", TINY)
def test_train_knows_the_options_of_every_way(preset):
    for options in WAYS.values():
        config = read_config(preset, Path("data"), Path("run"), f"{TINY[preset]} {options}")
        assert config.train.global_batch_size == 8
        assert config.data.path == "data"


def test_steps_fill_the_time_that_evaluations_leave():
    assert fit_steps(100, step_seconds=0.1, evaluation_seconds=5, num_evaluations=4) == int(
        80 / (SPARE * 0.1)
    )
    with pytest.raises(UserError, match="too few"):
        fit_steps(20, step_seconds=0.1, evaluation_seconds=5, num_evaluations=4)
