"""Each way of training in a process of its own."""

from benchmarks.notebook_dataset import write_dataset
from benchmarks.training_turns import Worker, run_worker_turns
from benchmarks.training_worker import PLAIN_LOOP


def test_a_worker_trains_and_sees_packages_of_pythonpath(tmp_path, monkeypatch):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "sitecustomize.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w').close()")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    write_dataset(tmp_path / "frames", 2)
    worker = Worker(PLAIN_LOOP, tmp_path / "frames", 1)
    assert worker.precision == "torch.float32"
    turns = run_worker_turns({PLAIN_LOOP: worker}, turns=2, num_steps=1)
    assert all(turn.seconds > 0 for turn in turns[PLAIN_LOOP])
    assert worker.process.returncode == 0
    assert (tmp_path / "seen").exists()
