"""Items run within their limits, and what they wrote before counts."""

import json
import time
from contextlib import suppress

import pytest

from benchmarks.gpu_check.items import PART_SECONDS, Item, Plan
from benchmarks.gpu_check.runner import STOPPING_SECONDS, run_item, run_items
from benchmarks.record import find_record, write_record

WRITE = """
import json, os, pathlib
folder = pathlib.Path(os.environ["BENCHMARK_RESULTS"])
folder.mkdir()
(folder / "2026-01-31-found-cpu.json").write_text(json.dumps({"headline": "42"}))
"""
PARENT = """
import pathlib, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHMARK_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def item(code: str, *arguments: str, seconds: float = 30, record: str = "", rest: bool = False):
    return Item("item", seconds, ("-c", code, *arguments), record, rest)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_an_item_that_ends_shows_its_record():
    outcome = run_item(item(WRITE, record="found"), 30)
    assert (outcome.state, outcome.headline, outcome.output) == ("done", "42", "")
    again = run_item(item("", record="found"), 30)
    assert again.headline == "", "the record is an earlier item's"


def test_a_failure_takes_nothing_from_the_others():
    bad = item("import sys; print('why'); sys.exit(3)")
    outcomes = list(run_items([bad, item(WRITE, record="found")], 60))
    assert [outcome.state for outcome in outcomes] == ["failed (exit code 3)", "done"]
    assert outcomes[0].output == "why\n"


@pytest.mark.system  # waits for a limit
def test_an_item_over_its_limit_ends_with_its_children_and_keeps_its_record(tmp_path):
    limit = STOPPING_SECONDS + 8
    start = time.monotonic()
    outcome = run_item(item(WRITE + PARENT, str(tmp_path / "child"), record="found"), limit)
    assert outcome.state == f"over its limit of {limit:.0f} s"
    assert outcome.headline == "42"
    assert outcome.seconds == pytest.approx(time.monotonic() - start, abs=5)
    assert not is_running(int((tmp_path / "child").read_text()))


def test_all_items_together_end_in_time():
    sleep = item("import time; time.sleep(600)", seconds=30)
    outcomes = list(run_items([sleep, item(WRITE)], 8))
    assert [outcome.state for outcome in outcomes] == [
        "over its limit of 8 s",
        "not run: no time left",
    ]


def test_an_item_that_takes_the_rest_leaves_the_later_ones_their_limits():
    show = "import sys; sys.exit(int(sys.argv[1]))"
    items = [item("", seconds=50), item(show, "{seconds}", seconds=10, rest=True), item("")]
    states = [outcome.state for outcome in run_items(items, 100)]
    assert states[::2] == ["done", "done"]
    limit = int(states[1].removeprefix("failed (exit code ").removesuffix(")"))
    assert 50 < limit <= 100 - 30 - STOPPING_SECONDS


@pytest.mark.parametrize("rehearse", [False, True])
def test_plans_fit_and_write_few_files(tmp_path, rehearse):
    plan = Plan(tmp_path, tmp_path / "actions", rehearse=rehearse)
    for part, seconds in PART_SECONDS.items():
        items = plan.items(part)
        assert max(item.seconds for item in items) < plan.part_seconds(part)
        assert seconds < 600
        records = {item.record for item in items if item.record} | {"summary"}
        trainings = [item for item in items if item.takes_rest]
        assert len(records) + 2 * len(trainings) <= 8, "weights and metrics of a training"
    assert sum(item.seconds for item in plan.items(2)) <= plan.part_seconds(2)


def test_records_say_that_they_are_rehearsals(results, monkeypatch):
    monkeypatch.setenv("BENCHMARK_REHEARSAL", "1")
    path = write_record("found", {"headline": "42"})
    assert path.parent == results
    assert json.loads(path.read_text())["rehearsal"] is True
    assert find_record("found") == path
