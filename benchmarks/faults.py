"""Kill real training runs over and over, and prove that none is lost.

`python -m benchmarks.faults --kills 100`. A life is one run in one folder, killed at random (by the
clock, or at a named place of benchmarks/faulty_train.py), started again with the same command, and
in the end left alone. Lives with a fixed world size of 1, 2 or 4 must end with the bits of a run
that was never interrupted. Elastic lives draw another world size at every start; they train in
float64, and must end within 1e-5 of one process's weights. Exit code 1 if one differs.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median

import tyro
from tqdm import tqdm

from benchmarks.record import print_table, write_record
from benchmarks.same_run import distance, load_networks, newest_checkpoint, outcome, records
from t2vgan import cli

ROOT = Path(__file__).resolve().parents[1]
MODEL = (
    "--model.channels", 4, "--model.hidden-size", 16, "--model.text-size", 8,
    "--model.latent-size", 4, "--train.recovered-latents", 2,
)  # fmt: skip
RUN = (
    *MODEL, "--data.num-streams", 4, "--train.global-batch-size", 8, "--train.num-steps", 48,
    "--train.frames-per-clip", 3, "--train.penalty-every-steps", 2, "--log-every-steps", 4,
    "--sample-every-steps", 12, "--evaluate-every-steps", 24, "--evaluate-clips-per-prompt", 2,
    "--save-every-steps", 6, "--num-cpu-threads", 1,
)  # fmt: skip
NO_READINGS = ("--sample-every-steps", 0, "--evaluate-every-steps", 0)  # of a float64 model
WORLD_SIZES, SHARES = (1, 2, 4), (0.7, 0.22, 0.08)
ELASTIC_SHARE = 0.2
ELASTIC_TOLERANCE = 1e-5

# Places to be killed at, and up to how often they are passed before.
PLACES = {
    "data": 40, "discriminator loss": 40, "update": 80, "average": 40, "metrics": 20,
    "sampling": 4, "sample files": 6, "evaluation": 2, "snapshot": 8, "weights": 8,
    "checkpoint files": 40, "manifest": 8, "publishing": 60, "retention": 6, "removal": 12,
    "last word": 1,
}  # fmt: skip


@dataclass
class Kill:
    """One kill of one start of one life."""

    life: int
    world_size: int
    elastic: bool
    place: str
    """A named place, or "by the clock, while " what the main rank did."""
    resumed_at: int = -1
    """Step that the next start went on from."""
    seconds_lost: float = 0.0
    """From the last checkpoint (else the start) to the kill."""
    same: bool | None = None
    """Whether the life ended as it should."""


@dataclass
class Life:
    number: int
    run_dir: Path
    elastic: bool
    world_size: int
    kills: list[Kill] = field(default_factory=list)
    distance: float = 0.0


def main() -> int:
    return tyro.cli(run, prog="python -m benchmarks.faults")


def run(
    kills: int = 100, seed: int = 0, out: Path = Path("runs/faults"), max_minutes: float = 60.0
) -> int:
    """Kill runs, print what became of them and what safety costs, and write the record.

    Args:
        kills: Number of kills.
        seed: Seed of the random places and times.
        out: Folder of the data and the runs; emptied first.
        max_minutes: Begin no new life after so long.
    """
    shutil.rmtree(out, ignore_errors=True)
    data = build_data(out / "data", num_clips=120, size="32x48", num_frames=6)
    bench = Bench(data, out, random.Random(seed))
    deadline = time.monotonic() + 60 * max_minutes
    lives: list[Life] = []
    with tqdm(total=kills, unit="kill", file=sys.stderr) as progress:
        while (left := kills - sum(len(life.kills) for life in lives)) > 0:
            if time.monotonic() > deadline:
                break
            lives.append(bench.live(len(lives), min(left, bench.random.randint(3, 8)), progress))
    every = [kill for life in lives for kill in life.kills]
    show(every)
    costs = measure_costs(out)
    print_table(["cost", "value"], [[name, f"{value:.4g}"] for name, value in costs.items()])
    elastic = [life.distance for life in lives if life.elastic]
    record = {
        "seed": seed,
        "num_kills": len(every),
        "num_same": sum(bool(kill.same) for kill in every),
        "num_lives": len(lives),
        "largest_elastic_distance": max(elastic, default=0.0),
        "elastic_tolerance": ELASTIC_TOLERANCE,
        "costs": costs,
        "kills": [asdict(kill) for kill in every],
    }
    print(f"wrote {write_record('faults', record)}")
    return 0 if len(every) >= kills and all(kill.same for kill in every) else 1


class Bench:
    """Starts, kills and compares runs on one small data set."""

    def __init__(self, data: Path, out: Path, random_: random.Random) -> None:
        self.data, self.out, self.random = data, out, random_
        self.references: dict[tuple[bool, int], tuple[Path, float]] = {}

    def reference(self, *, elastic: bool, world_size: int) -> tuple[Path, float]:
        """Return a run that was never interrupted, and its seconds; it is made when first asked."""
        key = (elastic, world_size)
        if key not in self.references:
            run_dir = self.out / f"reference-{'float64-' if elastic else ''}{world_size}"
            start = time.monotonic()
            process = self.start(run_dir, world_size, elastic)
            code = process.wait()
            assert code == 0, (run_dir.with_suffix(".log")).read_text()
            self.references[key] = (run_dir, time.monotonic() - start)
        return self.references[key]

    def live(self, number: int, num_kills: int, progress: tqdm) -> Life:
        """Kill one run so often, let it end, and compare."""
        elastic = self.random.random() < ELASTIC_SHARE
        (world_size,) = self.random.choices(WORLD_SIZES, SHARES)
        life = Life(number, self.out / f"life-{number:03d}", elastic, world_size)
        while len(life.kills) < num_kills:
            if elastic:
                (life.world_size,) = self.random.choices(WORLD_SIZES, SHARES)
            _, seconds = self.reference(elastic=elastic, world_size=life.world_size)
            if (place := self.kill_once(life, seconds)) is None:
                break  # it came to its end before
            life.kills.append(Kill(number, life.world_size, elastic, *place))
            progress.update()
        code = self.start(life.run_dir, life.world_size, elastic).wait()
        same = code == 0 and self.ended_the_same(life)
        resumed = resume_steps(life.run_dir.with_suffix(".log"))
        for kill, step in zip(life.kills, resumed, strict=False):
            kill.resumed_at = step
        for kill in life.kills:
            kill.same = same
        if same:
            shutil.rmtree(life.run_dir)
        return life

    def kill_once(self, life: Life, seconds: float) -> tuple[str, int, float] | None:
        """Start a life and kill it; return where, or None if it was over before."""
        by_the_clock = self.random.random() < 0.5
        fault = "" if by_the_clock else self.random_fault(life.world_size)
        start = time.time()
        process = self.start(life.run_dir, life.world_size, life.elastic, fault)
        try:
            process.wait(timeout=self.random.uniform(0.2, 1.0) * seconds if by_the_clock else 600)
        except subprocess.TimeoutExpired:
            fault = f"by the clock, {last_word(life.run_dir)}"
            os.killpg(process.pid, signal.SIGKILL)  # the launcher and all its workers
        if process.wait() == 0:
            return None
        saved = [path.stat().st_mtime for path in life.run_dir.glob("checkpoints/step_*")]
        lost = time.time() - max([start, *saved])
        return fault, -1, lost

    def random_fault(self, world_size: int) -> str:
        place, most = self.random.choice(list(PLACES.items()))
        on_main_only = place not in ("data", "discriminator loss", "update", "average", "sampling")
        rank = 0 if on_main_only else self.random.randrange(world_size)
        return f"kill@{place}:{self.random.randint(1, most)}:{rank}"

    def start(
        self, run_dir: Path, world_size: int, elastic: bool, fault: str = ""
    ) -> subprocess.Popen:
        """Start or resume a run in a process group of its own; its output goes to a log beside."""
        launcher: Sequence[object] = (sys.executable,)
        if world_size > 1:
            launcher = (
                sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", world_size,
                "--master_port", self.random.randrange(20_000, 30_000),
            )  # fmt: skip
        faults = [*(["float64"] if elastic else []), *([fault] if fault else [])]
        script = ("benchmarks/faulty_train.py", *faults, "--") if faults else ("train.py",)
        command = [
            *launcher, *script, "quickstart",
            "--data.path", self.data, "--run-dir", run_dir, *RUN,
            *(NO_READINGS if elastic else ()),
        ]  # fmt: skip
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "1",  # of workers that wait for the dead one
        }
        with open(run_dir.with_suffix(".log"), "a") as log:
            return subprocess.Popen(
                list(map(str, command)), cwd=ROOT, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def ended_the_same(self, life: Life) -> bool:
        size = 1 if life.elastic else life.world_size
        reference, _ = self.reference(elastic=life.elastic, world_size=size)
        if not life.elastic:
            return outcome(life.run_dir) == outcome(reference)
        folders = (newest_checkpoint(life.run_dir), newest_checkpoint(reference))
        life.distance = distance(*map(load_networks, folders))
        return life.distance < ELASTIC_TOLERANCE


def build_data(folder: Path, *, num_clips: int, size: str, num_frames: int) -> Path:
    command = [
        sys.executable, "-m", "data_tools.build_shards", "circles", "--out", folder,
        "--num-clips", num_clips, "--clips-per-shard", num_clips // 6, "--size", size,
        "--num-frames", num_frames,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    return folder.resolve()


def last_word(run_dir: Path) -> str:
    """Return what the main rank last said that it was doing."""
    try:
        word = json.loads((run_dir / "heartbeats" / "rank_00000.json").read_text())
        return f"while {word['doing']}"
    except (OSError, ValueError):
        return "while starting"


def resume_steps(log: Path) -> list[int]:
    """Return the step of each start after the first: 0 where there was no checkpoint yet."""
    text = log.read_text()
    steps = [line.split()[3] for line in text.splitlines() if line.startswith("resumed at step ")]
    return [int(step) for step in steps]


def show(kills: Sequence[Kill]) -> None:
    def kind(kill: Kill) -> str:
        return kill.place if kill.place.startswith("by") else kill.place.split(":")[0]

    places = Counter(map(kind, kills))
    rows = []
    for place, count in places.most_common():
        there = [kill for kill in kills if kind(kill) == place]
        worlds = Counter("elastic" if kill.elastic else kill.world_size for kill in there)
        rows.append(
            [
                place,
                count,
                *(worlds[world] for world in (1, 2, 4, "elastic")),
                sum(bool(kill.same) for kill in there),
                f"{mean(kill.seconds_lost for kill in there):.1f}",
            ]
        )
    print_table(["killed", "kills", "1", "2", "4", "elastic", "same", "s lost"], rows)
    print(f"{sum(bool(kill.same) for kill in kills)} of {len(kills)} kills: the run ended the same")


def measure_costs(out: Path) -> dict[str, float]:
    """Train the quickstart's own model for a while and measure what safety takes from it."""
    data = build_data(out / "full-size", num_clips=480, size="64x64", num_frames=10)
    run_dir = out / "costs"
    options = (
        "--data.path", data, "--run-dir", run_dir, "--save-every-steps", 8, *NO_READINGS,
        "--log-every-steps", 8, "--num-cpu-threads", 1,
    )  # fmt: skip

    def train(num_steps: int) -> float:
        """Return seconds from the command to the first line of metrics of this start."""
        command = [sys.executable, "train.py", "quickstart", *options]
        command += ["--train.num-steps", num_steps]
        start = time.time()
        subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
        first = next(r for r in records(run_dir, "train") if r["wall_time"] > start)
        return first["wall_time"] - start

    train(40)
    seconds_to_line = train(49)
    state = json.loads((newest_checkpoint(run_dir) / "state.json").read_text())
    stalls = [record["stall_seconds"] for record in records(run_dir, "checkpoint")]
    num_saves, step = len(stalls), state["seconds"] / state["step"]
    per_step = (state["safety_seconds"] - sum(stalls[:-1])) / state["step"]
    per_save = median(stalls) + state["writing_seconds"] / max(1, num_saves - 1)
    save_every = 400  # of the preset
    return {
        "ms a step": 1000 * step,
        "ms a save stalls training, median": 1000 * median(stalls),
        "ms a save stalls training, most": 1000 * max(stalls),
        "ms of processor time that a save takes beside training": 1000
        * (per_save - median(stalls)),
        "ms a step to ask and to be told": 1000 * per_step,
        "% of run time for safety, saving every 400 steps": 100
        * (per_save / save_every + per_step)
        / (step + per_step),
        "s from command to the eighth resumed step": seconds_to_line,
        "s of these spent on training": 8 * step,
    }


if __name__ == "__main__":
    cli.run(main)
