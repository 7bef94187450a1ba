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
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from t2vgan.checkpoint import state_dict, storage
from t2vgan.commands import train
from t2vgan.data import loader
from t2vgan.distributed import context
from t2vgan.evaluation.probe.training import ProbeTrainer
from t2vgan.gan import adversarial, adversarial_losses, batch, networks
from t2vgan.models import clip_gan
from t2vgan.tracking import metrics_log
from t2vgan.training import checkpointer, data, evaluator, run_logger, sample_grids
from t2vgan.utils import cli

PLACES: dict[str, tuple[Any, str]] = {
    "opening data": (data, "open_checked_data"),
    "loading": (checkpointer, "load_checkpoint"),
    "data": (loader.ClipLoader, "__next__"),
    "discriminator loss": (adversarial_losses.AdversarialLosses, "discriminator_loss"),
    "generator loss": (adversarial_losses.AdversarialLosses, "generator_loss"),
    "all reduce": (context.DistributedContext, "average_"),
    "update": (adversarial.NetworkOptimizer, "apply"),
    "average": (adversarial.Ema, "update"),
    "metrics": (metrics_log.JsonlLogger, "write"),
    "sampling": (evaluator.TextToVideo, "generate"),
    "sample files": (sample_grids, "save_clip"),
    "evaluation": (evaluator, "score_clips"),
    "probe batch": (ProbeTrainer, "_gradients"),
    "snapshot": (checkpointer, "create_snapshot"),
    "weights": (checkpointer, "save_weights"),
    "checkpoint files": (state_dict, "write_tensors"),
    "manifest": (storage, "write_manifest"),
    "publishing": (storage, "fsync_path"),
    "retention": (storage, "remove_old"),
    "removal": (storage.shutil, "rmtree"),
    "error message": (cli, "format_error"),
    "last word": (run_logger.RunLogger, "close"),
}
Call = Callable[[], Any]
SAVES: list[Future[float] | None] = []
"""The save under way, or the last one."""


def remember_saves() -> None:
    save = checkpointer.CheckpointManager.save

    def save_and_remember(self: checkpointer.CheckpointManager, *args: Any, **options: Any) -> None:
        save(self, *args, **options)
        SAVES[:] = [self.job]

    checkpointer.CheckpointManager.save = save_and_remember  # type: ignore[assignment, method-assign]


def kill(call: Call) -> Any:
    """Kill the process; between two steps once the last save is on disk, however slow it is."""
    if threading.current_thread() is threading.main_thread():
        wait(job for job in SAVES if job)
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


def skip(call: Call) -> Any:
    """Return at once, with nothing done."""


def slow(call: Call) -> Any:
    time.sleep(0.3)
    return call()


def nan(call: Call) -> Any:
    return add(call(), float("nan"))


def inf(call: Call) -> Any:
    return add(call(), float("inf"))


def add(result: Any, number: float) -> Any:
    if isinstance(result, adversarial_losses.Loss):
        return result._replace(values=result.values + number)
    return result + number


def fail(call: Call) -> Any:
    raise ConnectionError("broken on purpose")


def oom(call: Call) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def full(call: Call) -> Any:
    raise OSError(28, os.strerror(28), "broken on purpose")


ACTIONS = {f.__name__: f for f in (kill, term, stop, hang, skip, slow, nan, inf, fail, oom, full)}
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
    """Build the networks in float64, give them float64 inputs, and cast nothing."""
    sys.argv += ["--train.precision", "no"]
    for name in ("build_generator", "build_discriminator"):
        build = getattr(networks, name)
        setattr(networks, name, lambda *a, build=build, **o: build(*a, **o).double())
    split = batch.BatchPreparer.split

    def split_double(self: batch.BatchPreparer, *args: Any) -> list[Any]:
        return [
            type(micro_batch)(
                **{
                    name: value.double() if value.is_floating_point() else value
                    for name, value in micro_batch.tensors.items()
                }
            )
            for micro_batch in split(self, *args)
        ]

    batch.BatchPreparer.split = split_double  # type: ignore[assignment, method-assign]


def flip_a_bit() -> None:
    """Change the last bit of one weight on rank 1 after its fifth step."""
    train_step, num_calls = adversarial.AdversarialTraining.train_step, 0

    def step_and_flip(self: adversarial.AdversarialTraining, *args: Any) -> None:
        nonlocal num_calls
        train_step(self, *args)
        num_calls += 1
        if num_calls == 5 and os.environ.get("RANK") == "1":
            weight = next(self.generator.network.parameters()).detach().view(-1)
            weight.view(torch.int32)[0] ^= 1

    adversarial.AdversarialTraining.train_step = step_and_flip  # type: ignore[assignment, method-assign]


def jumping_clock() -> None:
    """Let the wall clock jump an hour ahead, then two back, over and over."""
    real, num_calls = time.time, 0

    def jumping() -> float:
        nonlocal num_calls
        num_calls += 1
        return real() + (3600 if num_calls % 2 else -3600)

    time.time = jumping


def ignore(method: str) -> None:
    """Let one of the generator's methods see zeros for its first argument."""
    original = getattr(clip_gan.Generator, method)

    def blind(self: clip_gan.Generator, first: torch.Tensor, *others: Any) -> torch.Tensor:
        return original(self, torch.zeros_like(first), *others)

    setattr(clip_gan.Generator, method, blind)


def ask_for_float16() -> None:
    """Ask for float16 as accelerate does."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "fp16"


SPECIAL: dict[str, Callable[[], None]] = {
    "ignored latents": lambda: ignore("draw_video"),
    "ignored prompts": lambda: ignore("encode_text"),
    "float64": double_precision,
    "flipped bit": flip_a_bit,
    "jumping clock": jumping_clock,
    "asked for float16": ask_for_float16,
}


def main() -> NoReturn:
    split = sys.argv.index("--")
    faults, sys.argv = sys.argv[1:split], [sys.argv[0], *sys.argv[split + 1 :]]
    remember_saves()
    for fault in faults:
        build_in(fault)
    train.main()


if __name__ == "__main__":
    cli.run(main)
