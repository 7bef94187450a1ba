"""Measure scaling over CPU processes, and predict it for many GPUs.

`python -m benchmarks.scaling` measures clips/s of 1, 2 and 4 single-threaded processes. Measured
and predicted numbers are kept apart. Groups of processes take turns, so that other load affects all
equally. For root, each group has its own network namespace, whose loopback counter counts only what
this group sends.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import ROOT, benchmark, import_path
from benchmarks.record import print_table, write_record
from benchmarks.scaling_model import Network, efficiency, step_seconds

WORLD_SIZES = (1, 2, 4)
BATCH_SIZE = 16  # per step, over all processes
NUM_GPUS = (8, 64, 512)
NETWORKS = {  # assumed, not measured: a rank's share of its node's network
    "200 Gb/s a GPU": Network(bytes_per_second=20e9, latency_seconds=5e-6),
    "100 Gb/s a node of 8": Network(bytes_per_second=1.2e9, latency_seconds=15e-6),
}


class Group:
    """A group of processes that train together, in turns with others."""

    def __init__(
        self, data: Path, world_size: int, port: int, batch_size: int = BATCH_SIZE
    ) -> None:
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node",
                  str(world_size), "--master_port", str(port)]  # fmt: skip
        worker = ["benchmarks/scaling_worker.py", str(data), str(batch_size)]
        self.process = subprocess.Popen(
            [*own_network(), *launch, *worker], cwd=ROOT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": import_path()},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.description = self.receive()
        assert self.description["world_size"] == world_size

    def turn(self, num_steps: int) -> dict[str, Any]:
        """Train `num_steps` steps; return their cost."""
        self.send(num_steps)
        return self.receive()

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        self.send(0)
        self.process.communicate(timeout=60)

    def send(self, num_steps: int) -> None:
        """Start a turn; 0 ends the group."""
        assert self.process.stdin
        print(num_steps, file=self.process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        """Wait for the group's report."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


def own_network() -> list[str]:
    """Return a command prefix for a network namespace; empty without root."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
        return []
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def run(
    turns: int = 5, steps_per_turn: int = 8, gpu_step_ms: tuple[float, ...] = (5, 20, 80)
) -> None:
    """Measure and predict scaling; print both separately and record them.

    Args:
        turns: Turns of each group; medians are reported.
        steps_per_turn: Steps per turn; every eighth has the penalty.
        gpu_step_ms: Step times of one GPU to predict for, preferably measured ones.
    """
    with tempfile.TemporaryDirectory() as name:
        write_clips(Path(name), *SCENES["quickstart"], num_clips=1024, clips_per_shard=64)
        measured, unconnected = measure(Path(name), turns, steps_per_turn)
    show(measured)
    print(f"two processes that share nothing, half a batch each: {unconnected:.2f} of one")
    predicted = predict(measured[0]["gradient_bytes"], gpu_step_ms)
    print_table(
        ["predicted efficiency", *(f"{n} GPUs" for n in NUM_GPUS)],
        [[row["case"], *(f"{share:.0%}" for share in row["efficiency"])] for row in predicted],
    )
    record = {
        "load_average": os.getloadavg(),
        "counted_alone": bool(own_network()),
        "clips_per_step": BATCH_SIZE,
        "steps_per_turn": steps_per_turn,
        "measured": measured,
        "two_unconnected": unconnected,
        "predicted": predicted,
    }
    print(f"wrote {write_record('scaling', record)}")


def measure(data: Path, turns: int, steps_per_turn: int) -> tuple[list[dict[str, Any]], float]:
    """Return a row per number of processes, and the limit of two.

    All take turns. The latter is measured with two independent processes on the same machine, each
    with half of the clips.
    """
    with ExitStack() as stack:
        groups = [
            stack.enter_context(Group(data, world_size, port=29601 + world_size))
            for world_size in WORLD_SIZES
        ]
        pair = [
            stack.enter_context(Group(data, 1, port=29611 + place, batch_size=BATCH_SIZE // 2))
            for place in range(2)
        ]
        results, of_pair = [], []
        for _ in range(turns):
            results.append([group.turn(steps_per_turn) for group in groups])
            for group in pair:
                group.send(steps_per_turn)
            of_pair.append(max(group.receive()["seconds"] for group in pair))
    unconnected = median(
        row[0]["seconds"] / other for row, other in zip(results, of_pair, strict=True)
    )
    rows = []
    for place, group in enumerate(groups):
        own = [row[place] for row in results]
        ratios = [row[0]["seconds"] / row[place]["seconds"] for row in results]
        clips = steps_per_turn * BATCH_SIZE
        communication = predict_here(group.description)
        rows.append(
            group.description
            | {
                "clips_per_second": median(clips / turn["seconds"] for turn in own),
                "ratio": median(ratios),
                "ratios": ratios,
                "processor_ms_per_clip": median(
                    1e3 * sum(turn["processor_seconds"]) / clips for turn in own
                ),
                "bytes_per_step": median(turn["bytes"] / steps_per_turn for turn in own),
                "predicted_communication_ms": 1e3 * communication,
            }
        )
    return rows, unconnected


def predict_here(description: dict[str, Any]) -> float:
    """Predict seconds per step for the link measured here."""
    if description["link"] is None:
        return 0.0
    # The measured latency is that of a sum of one number: all messages of a ring.
    messages = 2 * (description["world_size"] - 1)
    link = description["link"]
    network = Network(link["bytes_per_second"], link["latency_seconds"] / messages)
    return step_seconds(description["gradient_bytes"], description["world_size"], network)


def predict(sizes: dict[str, float], gpu_step_ms: tuple[float, ...]) -> list[dict[str, Any]]:
    """Predict efficiency per network and step time."""
    rows = []
    for name, network in NETWORKS.items():
        for milliseconds in gpu_step_ms:
            seconds = [step_seconds(sizes, n, network) for n in NUM_GPUS]
            rows.append(
                {
                    "case": f"{name}, {milliseconds:g} ms a step",
                    "communication_ms": [1e3 * each for each in seconds],
                    "efficiency": [efficiency(milliseconds / 1e3, each) for each in seconds],
                }
            )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print what was measured."""
    headers = [
        "measured",
        "clips/s",
        "ratio",
        "processor ms a clip",
        "kB a step",
        "sums, predicted ms",
    ]
    print_table(
        headers,
        [
            [
                f"{row['world_size']} x 1 thread",
                f"{row['clips_per_second']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['processor_ms_per_clip']:.1f}",
                f"{row['bytes_per_step'] / 1e3:.0f}",
                f"{row['predicted_communication_ms']:.1f}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    benchmark(run)
