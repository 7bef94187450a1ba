"""Packing videos from object storage and the web into object storage, by tasks of a cluster."""

import itertools
import json
import time

import pytest

from data_tools.build.journal import JOURNAL_PREFIX
from tests.support.commands import environment
from tests.support.data_commands import files_in
from tests.support.filming import counting, write_film
from tests.support.object_storage import (
    BUCKET,
    client,
    object_storage,
    objects,
    put_folder,
    variables,
)
from tests.support.packing import FAST, SMALL
from tests.support.warm import WarmProcess, run_warm, run_warm_ok

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in "abcd":
        write_film(folder / f"{name}.mp4", counting(8), FAST)
        (folder / f"{name}.txt").write_text(f"film {name} counts\n")
    (folder / "broken.mp4").write_bytes(b"\0" * 999)
    (folder / "broken.txt").write_text("a broken film")
    return folder


@pytest.fixture(scope="module")
def storage():
    with object_storage() as proxy:
        client(proxy).create_bucket(Bucket=BUCKET)
        yield proxy


def pack(source: object, out: object, *options: object, **extra: str):
    command = ("-m", "data_tools.pack_videos", source, "--out", out, *SMALL, "--workers", 1)
    return run_warm_ok(*command, "--max-bad-fraction", "0.5", *options, **extra)


def test_tasks_pack_from_a_bucket_into_a_bucket(tmp_path, videos, storage):
    pack(videos, tmp_path / "local")
    source, out = put_folder(storage, videos, "videos"), f"s3://{BUCKET}/packed"
    kinds = itertools.cycle([*[None] * 6, "busy", *[None] * 6, "cut"])
    storage.fault = lambda method, path: next(kinds)
    for task in (1, 0, 1):  # one twice: it finds its shards finished
        number = ("--task-index", task, "--task-count", 2)
        result = pack(source, out, *number, **variables(storage))
        assert f"t2vgan merge {out}" in result.stdout
    assert "manifest.json" not in objects(storage, "packed")
    merged = run_warm_ok("-m", "data_tools.merge_manifests", out, **variables(storage))
    assert "4 clips" in merged.stdout
    assert {"busy", "cut"} <= storage.faults.keys()
    assert objects(storage, "packed") == files_in(tmp_path / "local")
    retried = pack(source, out, "--retry-failed", **variables(storage))
    assert "1 failed: decode" in retried.stdout
    assert objects(storage, "packed") == files_in(tmp_path / "local")


def test_a_merge_before_the_last_task_is_refused(videos, storage):
    storage.fault = lambda method, path: None
    out = f"s3://{BUCKET}/half"
    pack(videos, out, "--task-index", 0, "--task-count", 2, **variables(storage))
    places = environment(**variables(storage))
    result = run_warm("-m", "data_tools.merge_manifests", out, variables=places)
    assert result.returncode == 2
    assert f"{out}: 1 of 3 shards are missing or damaged (numbers 1)" in result.stderr


def test_a_list_of_web_addresses(tmp_path, videos, storage):
    put_folder(storage, videos, "videos")
    storage.fault = lambda method, path: None
    names = ["a.mp4", "nowhere.mp4", "d.mp4"]
    rows = [
        {"url": f"{storage.url}/{BUCKET}/videos/{name}", "caption": f"film {name}"}
        for name in names
    ]
    table = tmp_path / "metadata.jsonl"
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = pack(table, tmp_path / "out", "--allow-private-hosts")
    assert "2 clips out" in result.stdout
    assert "1 failed: missing" in result.stdout


def test_a_killed_build_continues(tmp_path, storage):
    recorded = f"{JOURNAL_PREFIX}-0"  # of a shard, not of the whole build

    def stall(method: str, path: str) -> str | None:
        """Hold up the record of the fourth shard: the build is killed there."""
        is_record = method == "PUT" and recorded in path
        return "stalled" if is_record and len(sent(storage, recorded)) > 3 else None

    storage.requests.clear()
    storage.faults.clear()
    storage.fault = stall
    url = f"s3://{BUCKET}/out"
    size = ("--num-clips", 120, "--clips-per-shard", 20, "--workers", 1)
    build = ("-m", "data_tools.build_shards", "circles", *size, "--out")
    process = WarmProcess((*build, url), environment(**variables(storage)))
    deadline = time.monotonic() + 300
    while not storage.faults["stalled"]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait(60)
    storage.fault = lambda method, path: None
    assert "manifest.json" not in objects(storage, "out")
    storage.requests.clear()
    run_warm_ok(*build, url, **variables(storage))
    assert len(sent(storage, "circles-")) == 3, "of six, three were finished"
    run_warm_ok(*build, tmp_path)
    assert objects(storage, "out") == files_in(tmp_path), "and nothing else is left there"


def sent(storage, prefix: str) -> list[str]:
    """Return the files that were written whose names start so."""
    paths = [path for method, path in storage.requests if method == "PUT"]
    return [path for path in paths if path.rpartition("/")[2].startswith(prefix)]
