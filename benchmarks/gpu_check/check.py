"""Run the items of a part, and record the outcome of each."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from benchmarks.gpu_check.items import NOT_COMPILED, Plan
from benchmarks.gpu_check.runner import Outcome, run_items
from benchmarks.record import print_table, write_record
from t2vgan.errors import UserError


def run(
    part: Literal[1, 2],
    out: Path | None = None,
    folder: Path = Path("runs/gpu-check"),
    actions_data: Path | None = None,
    train_options: str = NOT_COMPILED,
    rehearse: bool = False,
) -> int:
    """Check the GPU; return 1 if an item was not done.

    Part 1, five minutes: tests, step profiles, the quickstart, a resumed run. Part 2, eight
    minutes: Moving Shapes from scratch.

    Args:
        part: 1 or 2.
        out: Folder for the records, at most eight files; by default benchmarks/results.
        folder: Folder for data and runs; those of the same part are removed first.
        actions_data: Shards of the scene actions, to train on in part 2.
        train_options: Options of train.py in part 2, depending on the results of part 1:
            "--compile on" may be faster.
        rehearse: Run everything with minimal work, also on a CPU, within three times the limits;
            the records are marked, and dropped unless `out` is given.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not rehearse:
        raise UserError(
            "the check needs a CUDA device; torch finds none (--rehearse runs without one)"
        )
    folder = folder.absolute() / f"part-{part}"
    shutil.rmtree(folder, ignore_errors=True)
    actions_data = actions_data and actions_data.absolute()
    plan = Plan(folder, actions_data, train_options, rehearse)
    items = plan.items(part)
    outcomes: list[Outcome] = []
    os.environ["BENCHMARK_CHECK"] = datetime.now(UTC).isoformat()
    with ExitStack() as stack:
        if rehearse:
            os.environ["BENCHMARK_REHEARSAL"] = "1"
            out = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if out:
            os.environ["BENCHMARK_RESULTS"] = str(out.absolute())
        for outcome in run_items(items, plan.part_seconds(part)):
            outcomes.append(outcome)
            line = f"{outcome.item}: {outcome.state}, {outcome.seconds:.0f} s  {outcome.headline}"
            print(line, flush=True)
            record = {"items": list(map(asdict, outcomes)), "num_items": len(items)}
            path = write_record(f"gpu_check_part_{part}", record, device=device)
    print_table(
        ["item", "state", "s", "result"],
        [[o.item, o.state, f"{o.seconds:.0f}", o.headline] for o in outcomes],
    )
    print(f"wrote {path}")
    return 0 if all(outcome.state == "done" for outcome in outcomes) else 1
