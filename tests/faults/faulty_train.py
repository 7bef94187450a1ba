"""train.py with faults built in, for benchmarks/faults.py and the system tests.

`python tests/faults/faulty_train.py ACTION@PLACE:N[-M][:RANK] ... -- PRESET options`: when a place
is reached the N-th to M-th time in this process (on that rank only, if one is named), the action
happens just before it. `float64` as a fault trains in double precision: two ways to the same
weights are then equal to many digits, where float32 shows the order of its sums.
"""

import functools
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import train
from t2vgan.checkpoint import state_dict as state
from t2vgan.checkpoint import storage as folder
from t2vgan.data import loader as stream
from t2vgan.gan import adversarial as game
from t2vgan.tracking import metrics_log as runlog
from t2vgan.training import checkpointer as saving
from t2vgan.training import evaluator as readings
from t2vgan.training import run_logger as diary
from t2vgan.training import sample_grids as samples
from t2vgan.training import trainer
from t2vgan.utils import cli

PLACES: dict[str, tuple[Any, str]] = {
    "data": (stream.ClipLoader, "__next__"),
    "discriminator loss": (game.AdversarialTraining, "discriminator_loss"),
    "generator loss": (game.AdversarialTraining, "generator_loss"),
    "update": (game.NetworkOptimizer, "step"),
    "average": (game.Ema, "update"),
    "metrics": (runlog.JsonlLogger, "write"),
    "sampling": (readings.TextToVideo, "generate"),
    "sample files": (samples, "save_clip"),
    "evaluation": (readings, "score_clips"),
    "snapshot": (saving, "take_snapshot"),
    "weights": (saving, "save_weights"),
    "checkpoint files": (state, "write_tensors"),
    "manifest": (folder, "write_manifest"),
    "publishing": (folder, "fsync_path"),
    "retention": (folder, "remove_old"),
    "removal": (folder.shutil, "rmtree"),
    "last word": (diary.RunLogger, "close"),
}
Call = Callable[[], Any]


def kill(call: Call) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def term(call: Call) -> Any:
    os.kill(os.getpid(), signal.SIGTERM)
    return call()


def stop(call: Call) -> Any:
    """Stand still as a whole process: heartbeats too."""
    os.kill(os.getpid(), signal.SIGSTOP)


def hang(call: Call) -> Any:
    """Stand still in this thread only."""
    time.sleep(10_000)


def slow(call: Call) -> Any:
    time.sleep(0.3)
    return call()


def nan(call: Call) -> Any:
    return call() * float("nan")


def inf(call: Call) -> Any:
    return call() + float("inf")


def fail(call: Call) -> Any:
    raise ConnectionError("broken on purpose")


def full(call: Call) -> Any:
    raise OSError(28, os.strerror(28), "broken on purpose")


ACTIONS = {f.__name__: f for f in (kill, term, stop, hang, slow, nan, inf, fail, full)}
PATTERN = re.compile(r"(\w+)@([\w ]+):(\d+)(?:-(\d+))?(?::(\d+))?")


def build_in(fault: str) -> None:
    """Wrap a place so that the fault happens there."""
    if fault in SPECIAL:
        return SPECIAL[fault]()
    match = PATTERN.fullmatch(fault)
    assert match, f"{fault!r} is not {PATTERN.pattern}"
    action, (owner, name) = ACTIONS[match[1]], PLACES[match[2]]
    first = int(match[3])
    last = int(match[4] or first)
    original = getattr(owner, name)
    num_calls = 0

    @functools.wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if first <= num_calls <= last and match[5] in (None, os.environ.get("RANK", "0")):
            return action(lambda: original(*args, **options))
        return original(*args, **options)

    setattr(owner, name, wrapped)
    return None


# --- faults that are no place -------------------------------------------------------------------


def double_precision() -> None:
    """Build the networks in float64 and give them float64 inputs."""
    for name in ("build_generator", "build_discriminator"):
        build = getattr(game, name)
        setattr(game, name, lambda *a, build=build, **o: build(*a, **o).double())
    prepare = trainer.prepare_step

    def prepare_double(*args: Any, **options: Any) -> list[Any]:
        return [
            type(batch)(
                **{
                    field: value.double() if value.is_floating_point() else value
                    for field, value in vars(batch).items()
                }
            )
            for batch in prepare(*args, **options)
        ]

    trainer.prepare_step = prepare_double


def flip_a_bit() -> None:
    """Change the last bit of one weight on rank 1 after its fifth step."""
    play, num_calls = game.AdversarialTraining.play, 0

    def play_and_flip(self: game.AdversarialTraining, *args: Any) -> None:
        nonlocal num_calls
        play(self, *args)
        num_calls += 1
        if num_calls == 5 and os.environ.get("RANK") == "1":
            weight = next(self.generator.network.parameters()).detach().view(-1)
            weight.view(torch.int32)[0] ^= 1

    game.AdversarialTraining.play = play_and_flip  # type: ignore[method-assign]


def jumping_clock() -> None:
    """Let the wall clock jump an hour ahead, then two back, over and over."""
    real, num_calls = time.time, 0

    def jumping() -> float:
        nonlocal num_calls
        num_calls += 1
        return real() + (3600 if num_calls % 2 else -3600)

    time.time = jumping


SPECIAL: dict[str, Callable[[], None]] = {
    "float64": double_precision,
    "flipped bit": flip_a_bit,
    "jumping clock": jumping_clock,
}


def main() -> int:
    split = sys.argv.index("--")
    faults, sys.argv = sys.argv[1:split], [sys.argv[0], *sys.argv[split + 1 :]]
    for fault in faults:
        build_in(fault)
    return train.main()


if __name__ == "__main__":
    cli.run(main)
