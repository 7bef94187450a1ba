"""Run single training steps of a preset, and time them."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.gpu_check.environment import synchronize
from t2vgan.commands.train import read
from t2vgan.config import Config
from t2vgan.data.loader import ClipLoader
from t2vgan.training.trainer import Trainer

WARM_UP_STEPS = 4  # of each kind; the third one may be captured


def read_config(preset: str, data: Path, run_dir: Path, options: str) -> Config:
    """Return a preset's config with options as train.py parses them."""
    files = ("--data.path", str(data), "--run-dir", str(run_dir))
    return read([preset, *files, *shlex.split(options)]).config


@dataclass(frozen=True)
class StepTimes:
    """Times in milliseconds of a step that begins on an idle device."""

    host_ms: float
    """Time until the next step could begin: preparing the batch, and all launches."""
    total_ms: float
    """Time until the device is done."""


class StepRunner:
    """Runs a trainer's steps, one by one."""

    def __init__(self, trainer: Trainer, loader: ClipLoader) -> None:
        self.trainer, self.loader = trainer, loader
        self.device = trainer.context.device
        self.every = trainer.config.train.penalty_every_steps

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of steps that this config has."""
        return ("plain", "penalised") if self.every > 1 else ("plain",)

    def step(self) -> None:
        """Train on the next batch."""
        self.trainer.train_step(next(self.loader))

    def advance(self, kind: str) -> None:
        """Run steps until the next one is of a given kind."""
        while (self.trainer.clock.step % max(1, self.every) == 0) != (kind == self.kinds[-1]):
            self.step()

    def time_steps(self, num_steps: int) -> float:
        """Return the mean seconds of successive steps, including data."""
        synchronize(self.device)
        start = time.perf_counter()
        for _ in range(num_steps):
            self.step()
        synchronize(self.device)
        return (time.perf_counter() - start) / num_steps

    def time_single_steps(self, kind: str, num_steps: int) -> StepTimes:
        """Return median times of steps that begin on an idle device."""
        times = []
        for _ in range(num_steps):
            self.advance(kind)
            batch = next(self.loader)
            synchronize(self.device)
            start = time.perf_counter()
            self.trainer.train_step(batch)
            launched = time.perf_counter()
            synchronize(self.device)
            times.append((launched - start, time.perf_counter() - start))
        host, total = (1000 * median(column) for column in zip(*times, strict=True))
        return StepTimes(host, total)


@contextmanager
def running_steps(config: Config) -> Iterator[StepRunner]:
    """Yield a runner of a new trainer's steps, warmed up."""
    trainer = Trainer(config)
    trainer.model.compile()
    with trainer.loader() as loader:
        runner = StepRunner(trainer, loader)
        for kind in WARM_UP_STEPS * runner.kinds:
            runner.advance(kind)
            runner.step()
        yield runner
