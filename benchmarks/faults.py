"""Kill real training runs repeatedly, and check that none is lost.

Run `python -m benchmarks.faults --kills 100`. A life is one run in one folder that is killed at
random (after a random time, or at a named place of tests/faults/faulty_train.py), restarted with
the same command line, and finally left to finish. Lives with a fixed world size of 1, 2 or 4 must
end with the same bits as a run that was never interrupted. Elastic lives draw another world size at
every start; they train in float64, and must end within 1e-5 of the weights of one process. The exit
code is 1 if any life differs.

Every start is a fork of this process, which has imported torch and all of train.py but not used
them. This saves three seconds of imports per start, during which nothing could be lost.
tests/system/test_kills.py kills runs of the real launchers.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean

from tqdm import tqdm

from benchmarks.fault_costs import NO_EVALUATION, build_data, measure_costs, seconds_of_checks
from benchmarks.record import print_table, write_record
from t2vgan.utils import cli
from tests.faults import faulty_train
from tests.faults.same_run import distance, load_networks, newest_checkpoint, outcome

MODEL = (
    "--model.channels", 4, "--model.hidden-size", 16, "--model.text-size", 8,
    "--model.latent-size", 4, "--train.recovered-latents", 2,
)  # fmt: skip
RUN = (
    *MODEL, "--data.num-streams", 4, "--train.global-batch-size", 8, "--train.num-steps", 48,
    "--train.frames-per-clip", 3, "--train.penalty-every-steps", 2, "--log-every-steps", 4,
    "--sample-every-steps", 12, "--evaluate-every-steps", 24, "--evaluate-num-clips", 38,
    "--save-every-steps", 6, "--num-cpu-threads", 1,
)  # fmt: skip
ELASTIC_SHARE = 0.15
LONGEST_SECONDS = 600.0
FORK = multiprocessing.get_context("fork")
ELASTIC_TOLERANCE = 1e-5

# Places to kill at -> how often they are passed before, at most.
PLACES = {
    "data": 40, "discriminator loss": 40, "update": 80, "average": 40, "metrics": 20,
    "sampling": 4, "sample files": 6, "evaluation": 2, "snapshot": 8, "weights": 8,
    "checkpoint files": 40, "manifest": 8, "publishing": 60, "retention": 6, "removal": 12,
    "last word": 1,
}  # fmt: skip


@dataclass
class Kill:
    """One kill of one start of a life."""

    life: int
    world_size: int
    elastic: bool
    place: str
    """A named place, or "by the clock, while " and the main rank's activity."""
    seconds_lost: float = 0.0
    """Time from the last checkpoint, or else the start, to the kill."""
    same: bool | None = None
    """Whether the life ended as expected."""


@dataclass
class Life:
    number: int
    run_dir: Path
    elastic: bool
    world_size: int
    kills: list[Kill] = field(default_factory=list)
    distance: float = 0.0


def main() -> int:
    return cli.call(run)


def run(
    kills: int = 100,
    seed: int = 0,
    out: Path = Path("runs/faults"),
    world_sizes: tuple[int, ...] = (1, 2, 4),
    max_minutes: float = 60.0,
) -> int:
    """Kill runs and measure the cost of saves and checks.

    Args:
        kills: Number of kills.
        seed: Seed of the random places and times.
        out: Folder for data and runs; emptied first.
        world_sizes: Numbers of processes to draw from.
        max_minutes: No new life starts after this time.
    """
    shutil.rmtree(out, ignore_errors=True)
    data = build_data(out / "data", num_clips=120, size="32x48", num_frames=6)
    bench = Bench(data, out, random.Random(seed), world_sizes)
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
    for run_dir, _ in bench.references.values():
        name = f"ms a step to ask and to be told, tiny run {run_dir.name}"
        costs[name] = 1000 * seconds_of_checks(run_dir, last_step=48)
    print_table(["cost", "value"], [[name, f"{value:.4g}"] for name, value in costs.items()])
    elastic = [life.distance for life in lives if life.elastic]
    record = {
        "seed": seed,
        "world_sizes": world_sizes,
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

    def __init__(
        self, data: Path, out: Path, random_: random.Random, world_sizes: tuple[int, ...]
    ) -> None:
        self.data, self.out, self.random = data, out, random_
        self.world_sizes = world_sizes
        self.shares = [1 / size**2 for size in world_sizes]  # larger ones take longer on few cores
        self.references: dict[tuple[bool, int], tuple[Path, float]] = {}

    def reference(self, *, elastic: bool, world_size: int) -> tuple[Path, float]:
        """Return an uninterrupted run and its duration, training it only once."""
        key = (elastic, world_size)
        if key not in self.references:
            run_dir = self.out / f"reference-{'float64-' if elastic else ''}{world_size}"
            start = time.monotonic()
            process = self.start(run_dir, world_size, elastic)
            process.join()
            assert process.exitcode == 0, run_dir.with_suffix(".log").read_text()
            self.references[key] = (run_dir, time.monotonic() - start)
        return self.references[key]

    def live(self, number: int, num_kills: int, progress: tqdm) -> Life:
        """Kill one run `num_kills` times, let it end, and compare."""
        elastic = self.random.random() < ELASTIC_SHARE
        (world_size,) = self.random.choices(self.world_sizes, self.shares)
        life = Life(number, self.out / f"life-{number:03d}", elastic, world_size)
        while len(life.kills) < num_kills:
            if elastic:
                (life.world_size,) = self.random.choices(self.world_sizes, self.shares)
            _, seconds = self.reference(elastic=elastic, world_size=life.world_size)
            if (place := self.kill_once(life, seconds)) is None:
                break  # the run finished before the kill
            life.kills.append(Kill(number, life.world_size, elastic, *place))
            progress.update()
        process = self.start(life.run_dir, life.world_size, elastic)
        process.join()
        same = process.exitcode == 0 and self.ended_the_same(life)
        for kill in life.kills:
            kill.same = same
        if same:
            shutil.rmtree(life.run_dir)
        return life

    def kill_once(self, life: Life, seconds: float) -> tuple[str, float] | None:
        """Start a life and kill it.

        Returns the place of the kill and the seconds lost, or None if the run ended before.
        """
        by_the_clock = self.random.random() < 0.5
        fault = "" if by_the_clock else self.random_fault(life.world_size)
        start = time.time()
        process = self.start(life.run_dir, life.world_size, life.elastic, fault)
        process.join(self.random.uniform(0.05, 1.0) * seconds if by_the_clock else LONGEST_SECONDS)
        if process.is_alive():
            assert by_the_clock, f"{life.run_dir} hangs; see its log"
            fault = f"by the clock, {read_activity(life.run_dir)}"
            assert process.pid
            os.killpg(process.pid, signal.SIGKILL)  # the launcher and all its ranks
            process.join()
        if process.exitcode == 0:
            return None
        saved = [path.stat().st_mtime for path in life.run_dir.glob("checkpoints/step_*")]
        lost = time.time() - max([start, *saved])
        return fault, lost

    def random_fault(self, world_size: int) -> str:
        place, most = self.random.choice(list(PLACES.items()))
        on_main_only = place not in ("data", "discriminator loss", "update", "average", "sampling")
        rank = 0 if on_main_only else self.random.randrange(world_size)
        return f"kill@{place}:{self.random.randint(1, most)}:{rank}"

    def start(
        self, run_dir: Path, world_size: int, elastic: bool, fault: str = ""
    ) -> multiprocessing.context.ForkProcess:
        """Start or resume a run in its own process group."""
        faults = [*(["float64"] if elastic else []), *([fault] if fault else [])]
        command = [
            *faults, "--", "quickstart", "--data.path", self.data, "--run-dir", run_dir, *RUN,
            *(NO_EVALUATION if elastic else ()),  # cannot evaluate a float64 model
        ]  # fmt: skip
        arguments = (list(map(str, command)), world_size, run_dir.with_suffix(".log"))
        process = FORK.Process(target=launch, args=arguments)
        process.start()
        return process

    def ended_the_same(self, life: Life) -> bool:
        size = 1 if life.elastic else life.world_size
        reference, _ = self.reference(elastic=life.elastic, world_size=size)
        if not life.elastic:
            return outcome(life.run_dir) == outcome(reference)
        folders = (newest_checkpoint(life.run_dir), newest_checkpoint(reference))
        life.distance = distance(*map(load_networks, folders))
        return life.distance < ELASTIC_TOLERANCE


def launch(command: list[str], world_size: int, log: Path) -> None:
    """Start the ranks like a launcher; kill all when one dies."""
    os.setsid()
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if world_size == 1:
        be_rank(command, {})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = []
    for number in range(world_size):
        place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": world_size}
        place["LOCAL_WORLD_SIZE"] = world_size
        variables = address | {name: str(value) for name, value in place.items()}
        ranks.append(FORK.Process(target=be_rank, args=(command, variables)))
        ranks[-1].start()
    while any(rank.is_alive() for rank in ranks):
        if any(rank.exitcode for rank in ranks):
            time.sleep(0.5)
            for rank in ranks:
                rank.kill()
        time.sleep(0.02)
    sys.exit(1 if any(rank.exitcode for rank in ranks) else 0)


def be_rank(command: list[str], variables: dict[str, str]) -> None:
    os.environ.update(variables)
    sys.argv = ["faulty_train.py", *command]
    cli.run(faulty_train.main)


def read_activity(run_dir: Path) -> str:
    """Return the main rank's last activity, from its heartbeat file."""
    try:
        heartbeat = json.loads((run_dir / "heartbeats" / "rank_00000.json").read_text())
        return f"while {heartbeat['doing']}"
    except (OSError, ValueError):
        return "while starting"


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


if __name__ == "__main__":
    cli.run(main)
