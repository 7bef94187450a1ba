"""Saving beside training: what is written is what was, and what the disk refuses is tried again."""

import errno
import json
import os
import threading

import pytest
import torch

from t2vgan.checkpoint.__main__ import checkpoint as look
from t2vgan.checkpoint.storage import list_steps, step_folder
from t2vgan.checkpoint.weights import load_weights
from t2vgan.config import Config, TrainConfig
from t2vgan.data.manifest import Geometry, Manifest, ShardEntry
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.tokenizer import Vocabulary
from t2vgan.training import checkpointer as saving
from t2vgan.training.checkpointer import CheckpointManager, load_run
from t2vgan.training.state import TrainState
from tests.gan.test_adversarial import MODEL, B, K, R, make_batch

MANIFEST = Manifest(
    builder="test", builder_version="1", builder_config={}, builder_fingerprint="0" * 64,
    geometry=Geometry(num_frames=6, height=16, width=32), fps=8.0,
    shards=(ShardEntry(name="s", num_samples=1, num_bytes=1, sha256="0" * 64),),
    prompts={"circle moving up": 1},
)  # fmt: skip
VOCABULARY = Vocabulary(tuple("abcdefghi"))


class Run:
    def __init__(self, run_dir, precision="no"):
        train = TrainConfig(
            frames_per_clip=K, global_batch_size=B, precision=precision, recovered_latents=R
        )
        self.config = Config(run_dir=run_dir, model=MODEL, train=train)
        processes = DistributedContext(num_cpu_threads=1)
        sizes = {"height": 16, "width": 32, "vocabulary_size": 11}
        self.game = AdversarialTraining(MODEL, train, processes, **sizes)
        self.saver = CheckpointManager(self.config, self.game, MANIFEST, VOCABULARY)
        self.state = TrainState(data_fingerprint="data")

    def train(self, num_steps: int = 1) -> None:
        for _ in range(num_steps):
            batch = make_batch(self.state.step)
            fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
            single = {n: v.float() if v.is_floating_point() else v for n, v in fields.items()}
            self.game.play([type(batch)(**single)], self.state.step)
            self.state.step += 1

    def weights(self) -> torch.Tensor:
        modules = self.game.modules.values()
        return torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])


def test_training_goes_on_while_the_snapshot_is_written(tmp_path, monkeypatch):
    run, may_write = Run(tmp_path), threading.Event()
    publish = saving.publish
    monkeypatch.setattr(saving, "publish", lambda *a, **o: may_write.wait(60) and publish(*a, **o))
    run.train(2)
    run.game.notes.add("x", torch.tensor([0.5]))
    run.state.unread_notes = run.game.notes.unread()
    before = run.weights()
    run.saver.save(run.state, is_best=True)
    run.train(2)  # in the meantime
    assert not torch.equal(run.weights(), before)
    assert list_steps(tmp_path) == []
    may_write.set()
    run.saver.finish()
    assert list_steps(tmp_path) == [2]

    resumed = Run(tmp_path)
    load_run(resumed.config, resumed.game, 2, resumed.state)
    assert torch.equal(resumed.weights(), before)
    assert resumed.state.step == 2
    assert resumed.game.notes.read()["x"] == 0.5
    for name in ("weights.safetensors", "weights_best.safetensors"):
        tensors, info = load_weights(tmp_path / name)
        assert info.step == 2
        ema = resumed.game.ema.model.state_dict()
        assert all(torch.equal(tensors[key], ema[key]) for key in ema)


def test_a_float16_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    run = Run(tmp_path, "fp16")
    run.train(2)
    run.saver.save(run.state)
    run.train(2)
    run.saver.finish()

    resumed = Run(tmp_path, "fp16")
    load_run(resumed.config, resumed.game, 2, resumed.state)
    resumed.train(2)
    assert torch.equal(resumed.weights(), run.weights())
    for name, player in run.game.players.items():
        assert resumed.game.players[name].scaler.state_dict() == player.scaler.state_dict()


@pytest.mark.parametrize(("before", "after"), [("no", "fp16"), ("fp16", "no")])
def test_precision_may_change_on_resuming(before, after, tmp_path):
    run = Run(tmp_path, before)
    run.train()
    run.saver.save(run.state)
    run.saver.finish()
    resumed = Run(tmp_path, after)
    load_run(resumed.config, resumed.game, 1, resumed.state)
    assert torch.equal(resumed.weights(), run.weights())
    resumed.train()
    assert not torch.equal(resumed.weights(), run.weights())


def test_a_refused_save_is_said_and_the_next_one_is_good(tmp_path, monkeypatch, caplog):
    run = Run(tmp_path)
    publish = saving.publish

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoints")

    monkeypatch.setattr(saving, "publish", full)
    run.train()
    run.saver.save(run.state)
    with pytest.raises(OSError, match="No space left"):
        run.saver.finish()
    assert "step 1 was not saved (checkpoints: No space left on device)" in caplog.text
    monkeypatch.setattr(saving, "publish", publish)
    run.train()
    run.saver.save(run.state)
    run.saver.finish()
    assert list_steps(tmp_path) == [2]


def test_the_best_weights_are_not_lost_with_a_refused_save(tmp_path, monkeypatch):
    run, save_weights = Run(tmp_path), saving.save_weights

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights")

    monkeypatch.setattr(saving, "save_weights", full)
    run.train()
    run.saver.save(run.state, is_best=True)
    run.saver.wait()
    monkeypatch.setattr(saving, "save_weights", save_weights)
    run.train()
    run.saver.save(run.state)
    run.saver.finish()
    assert load_weights(tmp_path / "weights_best.safetensors")[1].step == 1
    assert load_weights(tmp_path / "weights.safetensors")[1].step == 2


def test_a_checkpoint_learns_later_that_it_is_the_best(tmp_path):
    """As of a run that was resumed where it still owed the evaluation."""
    run = Run(tmp_path)
    run.train()
    run.saver.save(run.state)
    run.state.best_step, run.state.best_accuracy = 1, 0.5
    run.saver.save(run.state, is_best=True)
    run.saver.finish()
    resumed = Run(tmp_path)
    load_run(resumed.config, resumed.game, 1, resumed.state)
    assert (resumed.state.best_step, resumed.state.best_accuracy) == (1, 0.5)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_a_defect_while_writing_is_not_swallowed(tmp_path, monkeypatch):
    run = Run(tmp_path)
    monkeypatch.setattr(saving, "publish", lambda *a, **o: 1 / 0)
    run.saver.save(run.state)
    with pytest.raises(ZeroDivisionError):
        run.saver.finish()


def test_states_of_older_versions_load(tmp_path):
    """A field that a version does not know has its default; one that is gone is passed over."""
    old = {"data_fingerprint": "data", "step": 7, "bad_samples": 3}
    state = TrainState.model_validate(old)
    assert (state.step, state.bad_clips, state.rollbacks) == (7, {}, 0)


# --- python -m t2vgan.checkpoint ------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    run = Run(tmp_path)
    for _ in range(2):
        run.train()
        run.saver.save(run.state)
    run.saver.finish()
    return tmp_path


def test_verify_names_the_damaged_and_moves_nothing(saved, capsys):
    assert look("verify", saved) == 0
    path = step_folder(saved, 2) / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert look("verify", saved) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["step 1: good", "step 2: good", "step 1: good"]
    assert "step 2: damaged: generator.safetensors has another checksum" in lines[3]
    assert list_steps(saved) == [1, 2]


def test_list_and_show(saved, capsys):
    (saved / "checkpoints" / "damaged-step_00000009").mkdir()
    look("list", saved)
    first, second, aside = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["step", "1"]
    assert second.split()[:2] == ["step", "2"]
    assert aside == "set aside: damaged-step_00000009"
    look("show", saved, step=1)
    head, _, state = capsys.readouterr().out.partition("{")
    assert "step_00000001, format 1" in head
    assert "generator_optimizer.safetensors" in head
    assert json.loads("{" + state)["step"] == 1


def test_folders_without_checkpoints_and_unknown_steps_are_mistakes(saved, tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        look("list", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"step=5 has no checkpoint in .*\[1, 2\]"):
        look("show", saved, step=5)
