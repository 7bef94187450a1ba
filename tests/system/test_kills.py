"""Killed anywhere and started again, a run ends with the same bits; other ranks, same gradients."""

import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.faults.same_run import distance, load_networks, newest_checkpoint, outcome, records
from tests.support.commands import SAMPLED, faulty, python_ok, train
from tests.support.warm import run_ranks, run_ranks_ok, run_warm, run_warm_ok


def last_networks(run_dir):
    return load_networks(newest_checkpoint(run_dir))


LIVES = {
    "in a step": (
        "kill@data:3", "kill@discriminator loss:6", "kill@update:11", "kill@average:3",
        "kill@metrics:4",
    ),
    "in a save": (
        "kill@snapshot:1", "kill@weights:1", "kill@checkpoint files:3", "kill@manifest:2",
        "kill@publishing:12", "kill@removal:3", "kill@retention:1",
    ),
    "in a reading": (
        "kill@sampling:1", "kill@sample files:2", "term@sampling:1", "kill@evaluation:1",
        "term@sampling:2", "kill@last word:1",
    ),
}  # fmt: skip


def test_what_a_killed_writer_left_is_cleared(circles, tmp_path):
    run_dir = tmp_path / "run"
    (run_dir / "samples").mkdir(parents=True)
    leftovers = [run_dir / ".tmp-5eed.safetensors", run_dir / "samples" / ".tmp-5eed.png"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    run_warm_ok(*train(circles, run_dir, "--train.num-steps", 2))
    assert not list(run_dir.glob("**/.tmp-*"))


@pytest.mark.parametrize("life", LIVES)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    life, finished_run_with_samples, circles, tmp_path
):
    run_dir = tmp_path / "run"
    for fault in LIVES[life]:
        result = run_warm(*faulty(fault, circles, run_dir, *SAMPLED))
        expected = -signal.SIGKILL if fault.startswith("kill") else 0
        assert result.returncode == expected, f"{fault}: {result.stderr}"
    python_ok(*train(circles, run_dir, *SAMPLED))  # cold: with another seed of hashes, too
    files, metrics = outcome(run_dir)
    expected_files, expected_metrics = outcome(finished_run_with_samples)
    assert len(metrics) == 6 + 4 + 2
    assert metrics == expected_metrics
    assert files == expected_files
    verified = run_warm_ok("-m", "t2vgan.checkpoint", "verify", run_dir)
    assert "step 12: good" in verified.stdout


def test_two_processes_killed_and_resumed_end_with_the_same_bits(circles, tmp_path):
    """Steps 5 and 6 are logged together: what a rank had summed up at the save comes back too."""
    options = ("--log-every-steps", 3)
    run_ranks_ok(2, *train(circles, tmp_path / "whole", *options))
    fault = faulty("kill@update:14:1", circles, tmp_path / "killed", *options)
    first, killed = run_ranks(2, *fault)
    assert (first.returncode, killed.returncode) == (3, -signal.SIGKILL)
    assert "missing or slow: rank 1" in first.stderr
    run_ranks_ok(2, *train(circles, tmp_path / "killed", *options))
    assert '"world_size": 2' in (tmp_path / "killed" / "run.json").read_text()
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_from_two_processes_to_one_to_four(circles, tmp_path):
    """In float64, where the order of a sum does not show in the first ten digits."""
    steps = ("--train.num-steps", 50, "--save-every-steps", 10, "--log-every-steps", 10)
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    run_warm_ok(*faulty("float64", circles, whole, *steps))
    lives = [
        (2, ("float64", "kill@update:30:1"), ("--data.num-threads", 3)),
        (1, ("float64", "kill@update:42"), ("--train.micro-batch-size", 2)),
        (4, ("float64",), ("--train.micro-batch-size", 1)),
    ]
    for world_size, faults, options in lives:
        run_ranks(world_size, *faulty(faults, circles, moved, *steps, *options))
    messages = [event["message"].split(" of ")[0] for event in records(moved, "event")]
    assert [m for m in messages if m.startswith("resumed")] == [
        "resumed at step 10", "resumed at step 30",
    ]  # fmt: skip
    assert '"world_size": 4' in (moved / "run.json").read_text()
    assert 0 < distance(*map(last_networks, (moved, whole))) < 1e-9
    for found, expected in zip(records(moved, "train"), records(whole, "train"), strict=True):
        for name in ("loss/discriminator", "loss/generator", "penalty", "logits/real"):
            assert found[name] == pytest.approx(expected[name], rel=1e-9), name


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> dict[int, dict]:
    """Gradients of one global batch by world size, from real processes."""
    folder = tmp_path_factory.mktemp("gradients")
    found = {}
    for world_size in (1, 2, 4):
        file = folder / f"{world_size}.safetensors"
        run_ranks_ok(world_size, "tests/system/gradients.py", file)
        found[world_size] = load_file(file)
    return found


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("accumulation", [1, 2, 4])
@pytest.mark.parametrize("kind", ["penalty", "plain"])
def test_gradients_are_those_of_one_process_with_the_whole_batch(
    world_size, accumulation, kind, gradients
):
    whole = compare_gradients(gradients, world_size, accumulation, kind)
    assert np.abs(whole[f"1/{kind}/discriminator/recover.weight"]).max() > 1e-3


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 2), (1, 4), (2, 1), (2, 2), (4, 1)])
def test_gradients_of_the_approximate_penalty_are_those_of_one_process(
    world_size, accumulation, gradients
):
    """Rounding is divided by the shift of its finite differences, 0.01."""
    compare_gradients(gradients, world_size, accumulation, "approximate", within=1e-7)


def compare_gradients(
    gradients: dict[int, dict], world_size: int, accumulation: int, kind: str, within: float = 1e-11
) -> dict:
    """Compare with one process and one micro-batch, and return its gradients."""
    assert gradients[world_size]["world_size"] == world_size
    whole = {k: v for k, v in gradients[1].items() if k.startswith(f"1/{kind}/")}
    assert {key.split("/")[2] for key in whole} == {"generator", "discriminator"}
    for key, expected in whole.items():
        found = gradients[world_size][key.replace("1", str(accumulation), 1)]
        limits = {"rtol": within, "atol": within / 1000}
        np.testing.assert_allclose(found, expected, **limits, err_msg=key)
    return whole


def test_a_gradient_that_one_rank_lacks_counts_as_zero_there(gradients):
    assert [float(gradients[n]["lacking"]) for n in (1, 2, 4)] == [3.0, 1.5, 2.25]
