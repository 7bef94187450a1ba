"""Builds into object storage: the same bytes, resumable, whatever goes wrong."""

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_tools.build import destination
from data_tools.build.protocol import identity_of
from data_tools.build_shards import build
from t2vgan.data.manifest import fingerprint
from t2vgan.errors import UserError
from tests.support.data_commands import LARGE_PLAN, PLAN, files_in, run
from tests.support.object_storage import BUCKET, client, objects, remove_objects

URL = f"s3://{BUCKET}/out"


@pytest.fixture(autouse=True)
def empty_bucket(storage):
    remove_objects(storage, "out")
    destination._remote.cache_clear()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("expected")
    build(PLAN, folder, num_workers=1)
    return files_in(folder)


def test_the_same_files_arrive_through_faults(storage, expected):
    kinds = itertools.cycle(["busy", None, "cut", None, "busy", "busy"])
    storage.fault = lambda method, path: next(kinds)
    build(PLAN, URL, num_workers=1)
    assert objects(storage, "out") == expected
    assert storage.faults.keys() == {"busy", "cut"}


def test_finished_shards_are_kept(storage, expected, capsys):
    build(PLAN, URL, num_workers=1)
    storage.requests.clear()
    build(PLAN, URL, num_workers=1)
    assert f"{URL} is already complete: 50 clips" in capsys.readouterr().out
    assert not [path for method, path in storage.requests if method not in ("GET", "HEAD")]


def test_a_damaged_or_lost_shard_is_made_again(storage, expected):
    build(PLAN, URL, num_workers=1)
    names = sorted(name for name in expected if name.endswith(".tar"))
    client(storage).put_object(Bucket=BUCKET, Key=f"out/{names[0]}", Body=b"damaged")
    client(storage).delete_object(Bucket=BUCKET, Key=f"out/{names[1]}")
    storage.requests.clear()
    build(PLAN, URL, num_workers=1)
    assert objects(storage, "out") == expected
    sent = {path for method, path in storage.requests if method == "PUT" and path.endswith(".tar")}
    assert sent == {f"/{BUCKET}/out/{name}" for name in names[:2]}


def test_another_build_there_is_refused(storage):
    build(PLAN, URL, num_workers=1)
    with pytest.raises(UserError, match=rf"{URL} holds a build with num_clips=50, not"):
        build(LARGE_PLAN, URL, num_workers=1)


def build_once_when(storage, name: str, plan) -> list[str]:
    """Build `plan` just before another build writes `name`; return the outcome."""
    outcome: list[str] = []

    def fault(method: str, path: str) -> None:
        if (method, path) == ("PUT", f"/{BUCKET}/out/{name}") and not outcome:
            outcome.append("built")
            try:
                build(plan, URL, num_workers=1)
            except UserError as error:
                outcome[0] = str(error)

    storage.fault = fault
    return outcome


def test_two_builds_of_the_same_at_once_do_no_harm(storage, expected):
    outcome = build_once_when(storage, PLAN.shard_name(1), PLAN)
    build(PLAN, URL, num_workers=1)
    assert outcome == ["built"]
    assert objects(storage, "out") == expected
    assert f"{URL}: 50 clips in 3 shards, all sound" in run("verify_shards", URL).stdout


def test_another_build_is_refused_from_the_first_moment(storage, expected):
    outcome = build_once_when(storage, PLAN.shard_name(0), LARGE_PLAN)
    build(PLAN, URL, num_workers=1)
    assert outcome[0].startswith(f"{URL} holds a build with num_clips=50, not 1500; choose another")
    assert objects(storage, "out") == expected


def test_of_two_builds_that_start_together_the_slower_one_gives_way(storage, expected):
    claims = f"{destination.CLAIM_PREFIX}{fingerprint(identity_of(LARGE_PLAN.header))[:16]}.jsonl"
    outcome = build_once_when(storage, claims, PLAN)
    with pytest.raises(UserError, match=f"{URL}: another build has just finished there"):
        build(LARGE_PLAN, URL, num_workers=1)
    assert outcome == ["built"]
    assert objects(storage, "out") == expected


def test_a_build_that_was_killed_keeps_its_place(storage):
    destination.RemoteDestination(URL, None).claim(PLAN.header)
    with pytest.raises(UserError, match=rf"{URL} holds a build with num_clips=50, not"):
        build(LARGE_PLAN, URL, num_workers=1)
    assert len(objects(storage, "out")) == 1
    build(PLAN, URL, num_workers=1)


def test_shards_that_nobody_recorded_are_not_overwritten(storage):
    client(storage).put_object(Bucket=BUCKET, Key=f"out/{PLAN.shard_name(0)}", Body=b"mine")
    with pytest.raises(UserError, match=rf"{URL}/circles-00000.tar exists, but no manifest"):
        build(PLAN, URL, num_workers=1)


def test_the_web_is_read_only():
    with pytest.raises(UserError, match="http://host/x: web servers are read-only"):
        build(PLAN, "http://host/x", num_workers=1)


def test_a_url_is_verified_by_what_lies_there(storage):
    build(PLAN, URL, num_workers=1)
    assert f"{URL}: 50 clips in 3 shards, all sound" in run("verify_shards", URL).stdout
    client(storage).put_object(Bucket=BUCKET, Key="out/circles-00001.tar", Body=b"damaged")
    client(storage).delete_object(Bucket=BUCKET, Key="out/circles-00002.tar")
    result = run("verify_shards", URL)
    assert result.returncode == 1, result.stderr
    assert f"{URL}/circles-00001.tar: expected sha256" in result.stdout
    assert f"{URL}/circles-00002.tar is missing" in result.stdout
    assert "circles-00000.tar" not in result.stdout


def test_a_web_server_that_does_not_say_how_long_a_shard_is(expected, tmp_path):
    build(PLAN, tmp_path, num_workers=1)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write((tmp_path / self.path[1:]).read_bytes())

        do_HEAD = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run("verify_shards", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "50 clips in 3 shards, all sound" in result.stdout, result.stdout + result.stderr


def test_a_web_server_that_refuses_is_asked_once():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(403)

        do_HEAD = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run("verify_shards", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert result.returncode == 2
    assert "/manifest.json: refused (403 Forbidden)" in result.stderr
    assert len(asked) == 1


def test_a_url_is_inspected(storage, tmp_path):
    build(PLAN, URL, num_workers=1)
    result = run("inspect_shards", URL, "--out", tmp_path / "seen")
    assert result.returncode == 0, result.stderr
    assert f"{URL}: 50 clips in 3 shards" in result.stdout
    assert (tmp_path / "seen" / "contact_sheet.html").is_file()


@pytest.mark.parametrize(
    ("tool", "message"),
    [("verify_shards", "has no manifest.json"), ("inspect_shards", "--out: give a local folder"),
     ("repair_shards", f"data set again with --out {URL}")],
)  # fmt: skip
def test_mistakes_about_a_url_are_one_line(storage, tool, message):
    result = run(tool, URL)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
