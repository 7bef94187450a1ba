"""The evaluation shared over processes: the same numbers for any world size."""

import json

import pytest

from tests.system.commands import python_ok, run, run_ok, torchrun

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    prompts = [
        part
        for prompt in ("circle moving up-right", "circle shrinking", "circle moving left")
        for part in ("--prompt", prompt)
    ]
    python_ok("generate.py", *prompts, "--num-videos", 60, "--num-frames", 6, "--format", "webp",
              "--out", folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "circles"
    python_ok("-m", "data_tools.build_shards", "circles", "--out", folder, "--num-clips", 300,
              "--num-frames", 6, "--size", "64x64")  # fmt: skip
    return folder


def read(path):
    record = json.loads(path.read_text())
    protocol = record.pop("protocol")
    return record, protocol.pop("world_size")


def test_two_processes_give_the_numbers_of_one(data, videos, tmp_path):
    options = ("-m", "t2vgan.evaluation", "--videos", videos, "--data", data, "--device", "cpu")
    python_ok(*options, "--out", tmp_path / "one.json")
    run_ok(*torchrun(2, 29571), *options, "--out", tmp_path / "two.json")
    one, two = read(tmp_path / "one.json"), read(tmp_path / "two.json")
    assert (one[1], two[1]) == (1, 2)
    assert one[0] == two[0]
    assert one[0]["videos"]["num_readable"] == 180
    assert one[0]["near_copies"]["num_training_clips"] == 300


def test_what_goes_wrong_on_another_rank_is_one_line(data, videos, tmp_path):
    """All videos are missing: every rank hears of it, none waits."""
    (tmp_path / "prompts.txt").write_text(
        "".join(f"lost-{number}.gif\tcircle moving up\n" for number in range(200))
    )
    options = ("-m", "t2vgan.evaluation", "--videos", tmp_path, "--data", data)
    result = run(*torchrun(2, 29572), *options, "--out", tmp_path / "x.json")
    assert result.returncode != 0
    assert "none can be scored, such as lost-0.gif: no such file" in result.stderr
    assert not (tmp_path / "x.json").exists()
