"""Saving beside training: what is written is what was, and what the disk refuses is tried again."""

import errno
import json
import os
import threading

import pytest
import torch

from t2vgan.checkpoint.__main__ import checkpoint as look
from t2vgan.checkpoint.storage import list_steps, step_folder
from t2vgan.checkpoint.weights import WeightsInfo, load_weights
from t2vgan.config import Config, TrainConfig
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import StepInputs
from t2vgan.training import checkpointer
from t2vgan.training.checkpointer import CheckpointManager
from t2vgan.training.state import TrainState
from tests.support.gan_steps import MODEL, B, K, R, make_batch, to_single
from tests.support.saved_runs import seal

INFO = WeightsInfo(
    model=MODEL, num_frames=6, height=16, width=32, fps=8.0, words=tuple("abcdefghi"),
    prompts=("circle moving up",), held_out_prompts=(), step=0, clips_seen=0, t2vgan_version="test",
)  # fmt: skip


class Run:
    """The parts of a run that are saved."""

    def __init__(self, run_dir, precision="no", vocabulary_size=11, data_fingerprint="data"):
        train = TrainConfig(
            frames_per_clip=K, global_batch_size=B, precision=precision, recovered_latents=R
        )
        self.config = Config(run_dir=run_dir, model=MODEL, train=train)
        context = DistributedContext(num_cpu_threads=1)
        sizes = {"height": 16, "width": 32, "vocabulary_size": vocabulary_size}
        self.gan = AdversarialTraining(MODEL, train, context, **sizes)
        self.published: list[tuple[int, bool]] = []
        self.checkpoints = CheckpointManager(
            self.config,
            self.gan,
            data_fingerprint,
            lambda info, best: self.published.append((info.step, best)),
        )
        self.step = 0

    def save(self, *, is_best: bool = False, **fields) -> None:
        state = TrainState(
            data_fingerprint="data",
            step=self.step,
            loss_scales=self.gan.loss_scales,
            unread_notes=self.gan.metrics.state_dict(),
            **fields,
        )
        info = INFO.model_copy(update={"step": self.step})
        self.checkpoints.save(state, info, is_best=is_best)

    def load(self, step: int) -> TrainState:
        state = self.checkpoints.load(step)
        self.gan.metrics.load_state_dict(state.unread_notes)
        self.step = state.step
        return state

    def train(self, num_steps: int = 1) -> None:
        for _ in range(num_steps):
            self.gan.train_step(StepInputs.of([to_single(make_batch(self.step))]), self.step)
            self.step += 1

    def weights(self) -> torch.Tensor:
        modules = self.gan.networks.values()
        return torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])


def test_training_goes_on_while_the_snapshot_is_written(tmp_path, monkeypatch):
    run, may_write = Run(tmp_path), threading.Event()
    save_checkpoint = checkpointer.save_checkpoint
    monkeypatch.setattr(
        checkpointer,
        "save_checkpoint",
        lambda *a, **o: may_write.wait(60) and save_checkpoint(*a, **o),
    )
    run.train(2)
    run.gan.metrics.add("x", torch.tensor([0.5]))
    before = run.weights()
    run.save(is_best=True)
    run.train(2)  # in the meantime
    assert not torch.equal(run.weights(), before)
    assert list_steps(tmp_path) == []
    may_write.set()
    run.checkpoints.finish()
    assert list_steps(tmp_path) == [2]

    resumed = Run(tmp_path)
    resumed.load(2)
    assert torch.equal(resumed.weights(), before)
    assert resumed.step == 2
    assert resumed.gan.metrics.reduce()["x"] == 0.5
    for name in ("weights.safetensors", "weights_best.safetensors"):
        tensors, info = load_weights(tmp_path / name)
        assert info.step == 2
        ema = resumed.gan.ema.model.state_dict()
        assert all(torch.equal(tensors[key], ema[key]) for key in ema)


def test_a_float16_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    run = Run(tmp_path, "fp16")
    run.train(2)
    run.save()
    run.train(2)
    run.checkpoints.finish()

    resumed = Run(tmp_path, "fp16")
    resumed.load(2)
    resumed.train(2)
    assert torch.equal(resumed.weights(), run.weights())
    for name, side in run.gan.optimizers.items():
        assert (
            resumed.gan.optimizers[name].grad_scaler.state_dict() == side.grad_scaler.state_dict()
        )


@pytest.mark.parametrize(("before", "after"), [("no", "fp16"), ("fp16", "no")])
def test_precision_may_change_on_resuming(before, after, tmp_path):
    run = Run(tmp_path, before)
    run.train()
    run.save()
    run.checkpoints.finish()
    resumed = Run(tmp_path, after)
    resumed.load(1)
    assert torch.equal(resumed.weights(), run.weights())
    resumed.train()
    assert not torch.equal(resumed.weights(), run.weights())


def test_other_data_is_named_before_tensors_that_do_not_fit_it(tmp_path):
    run = Run(tmp_path)
    run.train()
    run.save()
    run.checkpoints.finish()
    other = Run(tmp_path, vocabulary_size=12, data_fingerprint="other data")
    with pytest.raises(UserError, match="is not the data that"):
        other.load(1)


def full_disk(*_, **__):
    """Stands in for what saves on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoints")


def test_a_refused_save_is_logged_and_the_next_one_is_good(tmp_path, monkeypatch, caplog):
    run = Run(tmp_path)
    save_checkpoint = checkpointer.save_checkpoint

    monkeypatch.setattr(checkpointer, "save_checkpoint", full_disk)
    run.train()
    run.save()
    with pytest.raises(OSError, match="No space left"):
        run.checkpoints.finish()
    assert "step 1 was not saved (checkpoints: No space left on device)" in caplog.text
    monkeypatch.setattr(checkpointer, "save_checkpoint", save_checkpoint)
    run.train()
    run.save()
    run.checkpoints.finish()
    assert list_steps(tmp_path) == [2]


def test_the_best_weights_are_not_lost_with_a_refused_save(tmp_path, monkeypatch):
    run, save_weights = Run(tmp_path), checkpointer.save_weights

    monkeypatch.setattr(checkpointer, "save_weights", full_disk)
    run.train()
    run.save(is_best=True)
    run.checkpoints.wait()
    assert run.published == []
    monkeypatch.setattr(checkpointer, "save_weights", save_weights)
    run.train()
    run.save()
    run.train()
    run.save()
    run.checkpoints.finish()
    assert run.published == [(1, True), (2, False), (3, False)]
    assert load_weights(tmp_path / "weights_best.safetensors")[1].step == 1
    assert load_weights(tmp_path / "weights.safetensors")[1].step == 3


def test_the_best_weights_are_published_with_the_checkpoint_that_names_them(tmp_path, monkeypatch):
    run, save_checkpoint = Run(tmp_path), checkpointer.save_checkpoint

    monkeypatch.setattr(checkpointer, "save_checkpoint", full_disk)
    run.train()
    run.save(is_best=True)
    run.checkpoints.wait()
    monkeypatch.setattr(checkpointer, "save_checkpoint", save_checkpoint)
    run.train()
    run.save(is_best=True)
    run.checkpoints.finish()
    assert run.published == [(2, True)]


def test_a_checkpoint_is_replaced_once_it_is_the_best(tmp_path):
    """As of a run that was resumed before its evaluation was done."""
    run = Run(tmp_path)
    run.train()
    run.save()
    run.save(is_best=True, best_step=1, best_accuracy=0.5)
    run.checkpoints.finish()
    resumed = Run(tmp_path)
    state = resumed.load(1)
    assert (state.best_step, state.best_accuracy) == (1, 0.5)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_a_defect_while_writing_is_not_swallowed(tmp_path, monkeypatch):
    run = Run(tmp_path)
    monkeypatch.setattr(checkpointer, "save_checkpoint", lambda *a, **o: 1 / 0)
    run.save()
    with pytest.raises(ZeroDivisionError):
        run.checkpoints.finish()


def test_states_of_older_versions_load():
    """A field that a version does not know has its default; one that is gone is passed over."""
    old = {"data_fingerprint": "data", "step": 7, "bad_samples": 3}
    state = TrainState.model_validate(old)
    assert (state.step, state.bad_clips, state.rollbacks) == (7, {}, 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"step": "many"}, "step='many': must be a valid integer"),
        ({"step": 3}, "step=3 must be 1"),
        ({"seconds": float("nan")}, "seconds=nan: must be a finite number"),
        ({"seconds": -1}, "seconds=-1: must be greater"),
        ({"data_fingerprint": None}, "data_fingerprint=None: must be a valid string"),
        ({"bad_clips": [1]}, r"bad_clips=\[1\]: must be a valid dict"),
        ({"bad_clips": {"damaged": -1}}, "bad_clips.damaged=-1"),
        ({"schedule_lengths": [[5, 10]]}, "must begin at step 0"),
        ({"schedule_lengths": [[0, 0]]}, "schedule_lengths.0.1=0"),
        ({"alarms": {"blind_discriminator": "on"}}, "alarms.blind_discriminator='on'"),
        ({"unread_notes": {"loss": []}}, "unread_notes.loss"),
        ({"unread_notes": {"loss": [[1]]}}, "unread_notes.loss.0.1"),
        ({"loss_scales": {"generator": {"scale": "1"}, "x": 3}}, "loss_scales.x=3"),
        ({"loss_scales": {"generator": {}, "discriminator": {"scale": 2}}}, "GradScaler"),
        ({"best_step": 1e400}, "best_step=inf"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_sealed_state_of_other_types_is_one_line(tmp_path, fields, reason):
    run = Run(tmp_path, "fp16")
    run.train()
    run.save()
    run.checkpoints.finish()
    folder = step_folder(tmp_path, 1)
    state = json.loads((folder / "state.json").read_text()) | fields
    seal(folder, "state.json", json.dumps(state).encode())
    with pytest.raises(UserError, match=reason):
        run.load(run.checkpoints.find())


# --- python -m t2vgan.checkpoint ------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    run = Run(tmp_path)
    for _ in range(2):
        run.train()
        run.save()
    run.checkpoints.finish()
    return tmp_path


def test_verify_names_the_damaged_and_moves_nothing(saved, capsys):
    assert look("verify", saved) == 0
    path = step_folder(saved, 2) / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert look("verify", saved) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["step 1: good", "step 2: good", "step 1: good"]
    assert "step 2: damaged: generator.safetensors does not match its checksum" in lines[3]
    assert list_steps(saved) == [1, 2]


def test_list_and_show(saved, capsys):
    (saved / "checkpoints" / "damaged-step_00000009").mkdir()
    look("list", saved)
    first, second, aside = capsys.readouterr().out.splitlines()
    size = sum(path.stat().st_size for path in step_folder(saved, 1).iterdir())
    assert first.split()[:4] == ["step", "1", f"{size / 1e6:.1f}", "MB"]
    assert second.split()[:2] == ["step", "2"]
    assert aside == "set aside: damaged-step_00000009"
    look("show", saved, step=1)
    head, _, state = capsys.readouterr().out.partition("{")
    assert "step_00000001, format 1" in head
    assert "generator_optimizer.safetensors" in head
    assert json.loads("{" + state)["step"] == 1


def test_strange_names_are_listed_and_move_no_terminal(saved, capsys):
    folder = saved / "checkpoints"
    for name in ("damaged-step_\x1b[2J", "damaged-step_\udc80", "damaged-step_1\nstep 3"):
        (folder / name).mkdir()
    (folder / "step_00000009").symlink_to("nowhere")
    (folder / "step_7").mkdir()
    (folder / "step_00000008").mkdir()
    look("list", saved)
    *_, empty, short, link, code, lines, half = capsys.readouterr().out.splitlines()
    assert empty.split()[:2] == ["step", "8"]
    assert (short, link) == ("not a checkpoint: step_7", "not a checkpoint: step_00000009")
    assert (lines, code, half) == (
        "set aside: damaged-step_1?step 3",
        "set aside: damaged-step_?[2J",
        "set aside: damaged-step_?",
    )


def test_folders_without_checkpoints_and_unknown_steps_are_mistakes(saved, tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        look("list", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"step=5: no such checkpoint in .*available: 1, 2"):
        look("show", saved, step=5)
