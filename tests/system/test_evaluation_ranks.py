"""The evaluation shared over processes: the same numbers for any world size."""

import json

import pytest

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import circles
from t2vgan.data.shards import Geometry
from t2vgan.media import save_clip, slug
from tests.support.warm import run_ranks, run_ranks_ok, run_warm_ok

pytestmark = pytest.mark.system


GEOMETRY = Geometry(num_frames=6, height=32, width=48)
NUM_VIDEOS = 140  # three chunks of work


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    build(BuildPlan("circles", 160, 80, GEOMETRY, 0), folder, num_workers=1)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    clips = circles.render_clips(range(NUM_VIDEOS), 5, GEOMETRY)
    for number, (frames, prompt) in enumerate(zip(clips.frames, clips.prompts, strict=True)):
        save_clip(folder / f"{slug(prompt)}-{number}.webp", frames)
    return folder


def read(path):
    record = json.loads(path.read_text())
    protocol = record.pop("protocol")
    return record, protocol.pop("world_size")


def test_two_processes_give_the_numbers_of_one(data_folder, videos, tmp_path):
    options = (
        "-m",
        "t2vgan.evaluation",
        "--videos",
        videos,
        "--data",
        data_folder,
        "--device",
        "cpu",
        "--probe-steps",
        3,
    )
    run_warm_ok(*options, "--out", tmp_path / "one" / "record.json")
    (probe,) = data_folder.glob("probe-*.safetensors")
    probe.unlink()  # two processes train their own, to the same bits
    run_ranks_ok(2, *options, "--out", tmp_path / "two" / "record.json")
    one, two = read(tmp_path / "one" / "record.json"), read(tmp_path / "two" / "record.json")
    assert (one[1], two[1]) == (1, 2)
    assert one[0] == two[0]
    assert one[0]["clip_numbers"]["agreement"]["kind"] == "prompt"
    assert one[0]["videos"]["num_readable"] == NUM_VIDEOS
    assert one[0]["near_copies"]["num_training_clips"] == 160


def test_what_goes_wrong_on_another_rank_is_one_line(data_folder, tmp_path):
    """All videos are missing: every rank hears of it, none waits."""
    (tmp_path / "prompts.txt").write_text(
        "".join(f"lost-{number}.gif\tcircle moving up\n" for number in range(200))
    )
    options = ("-m", "t2vgan.evaluation", "--videos", tmp_path, "--data", data_folder)
    steps = ("--probe-steps", 3)
    results = run_ranks(2, *options, *steps, "--out", tmp_path / "x.json")
    for result in results:
        assert result.returncode == 2, result.stderr
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert "no video can be scored, such as lost-0.gif: no such file" in line
    assert not (tmp_path / "x.json").exists()
