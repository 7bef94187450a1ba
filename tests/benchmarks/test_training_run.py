"""What a followed run's records say of it."""

import json

from benchmarks.training_run import seconds_to, summarise


def evaluation(step: int, accuracy: float | None, held_out: float | None) -> dict:
    record = {"kind": "evaluation", "step": step, "seconds": 2.0 * step, "clips_seen": 8 * step}
    return record | {"accuracy": accuracy, "accuracy_held_out": held_out}


def test_a_target_counts_when_both_accuracies_reach_it():
    evaluations = [evaluation(1, 0.96, 0.5), evaluation(2, 0.96, 0.97), evaluation(3, 0.99, 1.0)]
    assert [seconds_to(target, evaluations) for target in (0.95, 0.97, 1.0)] == [4.0, 6.0, None]


def test_a_run_without_a_meter_has_an_agreement(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"device": "cpu, 1 threads"}))
    clocks = {"step": 5, "seconds": 1.5, "clips_seen": 40}
    numbers = {"agreement": {"accuracy": 0.7}}
    records = [
        {"kind": "train", **clocks, "memory_gb": 0.5},
        {"kind": "evaluation", **clocks, "accuracy_missing": "why", "clip_numbers": numbers},
    ]
    result = summarise(tmp_path, records)
    assert result["last"]["agreement"] == 0.7
    assert result["last"]["accuracy"] is None
    assert result["seconds_to"]["0.95"] is None
    assert (result["step"], result["training_seconds"]) == (5, 1.5)


def test_a_run_stopped_at_once_has_no_results(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"device": "cpu"}))
    result = summarise(tmp_path, [])
    assert (result["last"], result["step"], result["curve"]) == (None, 0, [])
