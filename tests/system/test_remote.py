"""Training and evaluating from object storage that fails now and then, beside a local folder."""

import itertools
import sys

import pytest

from t2vgan.checkpoint.storage import list_steps
from tests.data_tools.test_data_tools import run as run_tool
from tests.support.commands import python_ok, start, train
from tests.support.object_storage import BUCKET, client, object_storage, put_folder, variables

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "circles"
    options = ["--num-clips", 160, "--clips-per-shard", 20, "--workers", 1]
    assert run_tool("build_shards", "circles", "--out", folder, *options).returncode == 0
    return folder


def test_a_run_from_a_url_is_the_run_from_the_folder(tmp_path, data):
    kinds = itertools.cycle([None, "busy", None, "cut", None, "slow"])
    readings = ("--evaluate-every-steps", 12, "--evaluate-num-clips", 19)
    python_ok(*train(data, tmp_path / "local", *readings))
    with object_storage() as proxy:
        client(proxy).create_bucket(Bucket=BUCKET)
        url = put_folder(proxy, data, "circles")
        proxy.fault = lambda method, path: next(kinds)
        cache = ("--data.cache-path", tmp_path / "cache")
        python_ok(*train(url, tmp_path / "remote", *readings, *cache), **variables(proxy))
        assert {"busy", "cut", "slow"} <= proxy.faults.keys()
        python_ok(
            "-m", "t2vgan.evaluation", "--weights", tmp_path / "remote", "--data", url,
            "--num-clips", 19, "--out", tmp_path / "evaluation.json",
            HOME=str(tmp_path / "home"), **variables(proxy),
        )  # fmt: skip
    runs = (tmp_path / name / "weights.safetensors" for name in ("local", "remote"))
    assert next(runs).read_bytes() == next(runs).read_bytes()
    assert (tmp_path / "evaluation.json").exists()
    assert list((tmp_path / "home" / ".cache" / "t2vgan" / "shards").glob("*.tar"))


def test_a_mixed_run_resumes_to_the_same_weights(tmp_path, data):
    other = tmp_path / "other"
    options = ["--num-clips", 80, "--clips-per-shard", 20, "--workers", 1, "--seed", 1]
    assert run_tool("build_shards", "circles", "--out", other, *options).returncode == 0
    options = ("--data.mix", f"{data}=3", f"{other}=1", "--train.num-steps", 60)
    python_ok(*train(data, tmp_path / "whole", *options))
    command = train(data, tmp_path / "stopped", *options)
    process = start(sys.executable, *command)
    process.terminate()
    assert process.communicate(timeout=60)[1]
    assert max(list_steps(tmp_path / "stopped")) < 60
    python_ok(*command)
    runs = (tmp_path / name / "weights.safetensors" for name in ("whole", "stopped"))
    assert next(runs).read_bytes() == next(runs).read_bytes()
