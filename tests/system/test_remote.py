"""Training and evaluating from object storage that fails now and then, beside a local folder."""

import itertools
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from t2vgan.checkpoint.storage import list_steps
from tests.support.commands import faulty, train
from tests.support.object_storage import BUCKET, client, object_storage, put_folder, variables
from tests.support.warm import run_warm_ok, start_warm

pytestmark = pytest.mark.system


def test_a_run_from_a_url_is_the_run_from_the_folder(tmp_path, finished_run, circles):
    kinds = itertools.cycle([None, "busy", None, "cut", None, "slow"])
    evaluations = ("--evaluate-every-steps", 12, "--evaluate-num-clips", 19)
    with object_storage() as proxy:
        client(proxy).create_bucket(Bucket=BUCKET)
        url = put_folder(proxy, circles, "circles")
        proxy.fault = lambda method, path: next(kinds)
        cache = ("--data.cache-path", tmp_path / "cache")
        run_warm_ok(*train(url, tmp_path / "remote", *evaluations, *cache), **variables(proxy))
        assert {"busy", "cut", "slow"} <= proxy.faults.keys()
        run_warm_ok(
            "-m", "t2vgan.evaluation", "--weights", tmp_path / "remote", "--data", url,
            "--num-clips", 19, "--out", tmp_path / "evaluation.json",
            HOME=str(tmp_path / "home"), **variables(proxy),
        )  # fmt: skip
    runs = (path / "weights.safetensors" for path in (finished_run, tmp_path / "remote"))
    assert next(runs).read_bytes() == next(runs).read_bytes()
    assert (tmp_path / "evaluation.json").exists()
    assert list((tmp_path / "home" / ".cache" / "t2vgan" / "shards").glob("*.tar"))


def test_a_mixed_run_resumes_to_the_same_weights(tmp_path, circles):
    other = tmp_path / "other"
    size = ("--num-clips", 80, "--clips-per-shard", 20, "--num-frames", 6, "--size", "32x48")
    run_warm_ok("-m", "data_tools.build_shards", "circles", "--out", other, *size, "--seed", 1)
    options = ("--data.mix", f"{circles}=3", f"{other}=1", "--train.num-steps", 24)
    run_warm_ok(*train(circles, tmp_path / "whole", *options))
    run = circles, tmp_path / "stopped", *options
    process = start_warm(*faulty("slow@data:7-24", *run))  # or it might end before the signal
    process.terminate()
    assert process.communicate(timeout=300)[1]
    assert max(list_steps(tmp_path / "stopped")) < 24
    run_warm_ok(*train(*run))
    runs = (tmp_path / name / "weights.safetensors" for name in ("whole", "stopped"))
    assert next(runs).read_bytes() == next(runs).read_bytes()


def test_a_password_in_an_address_is_recorded_nowhere(tmp_path, circles):
    handler = partial(SimpleHTTPRequestHandler, directory=str(circles))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:passw0rd@127.0.0.1:{server.server_port}"
        run_dir, cache = tmp_path / "run", ("--data.cache-path", tmp_path / "cache")
        printed = ""
        for num_steps in (4, 8):
            command = train(url, run_dir, *cache, "--train.num-steps", num_steps)
            result = run_warm_ok(*command)
            printed += result.stdout + result.stderr
        server.shutdown()
    assert max(list_steps(run_dir)) == 8
    printed += run_warm_ok("-m", "t2vgan.report", run_dir).stdout
    assert (run_dir / "report.html").exists()
    written = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert b"***@127.0.0.1" in written[run_dir / "config.json"]
    assert not [path for path, data in written.items() if b"passw0rd" in data]
    assert "passw0rd" not in printed
