"""Packing on a real Ray cluster of two nodes, on this machine."""

import os
import time
from collections.abc import Iterator

import pytest
from ray.cluster_utils import Cluster

from data_tools.build.ray_pool import run_jobs_on_ray
from tests.support.commands import python, python_ok
from tests.support.data_commands import files_in
from tests.support.filming import counting, write_film
from tests.support.packing import FAST, SMALL
from tests.support.warm import run_warm_ok

pytestmark = pytest.mark.system
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    os.environ["RAY_raylet_start_wait_time_s"] = "120"  # noqa: SIM112 (a busy machine)
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def test_both_nodes_work(address):
    def where(job, should_stop):
        import ray

        time.sleep(0.5)
        return job, ray.get_runtime_context().get_node_id()

    done = list(run_jobs_on_ray(where, range(8), address=address))
    assert sorted(job for job, _ in done) == list(range(8))
    assert len({node for _, node in done}) == 2


def test_a_job_that_fails_says_what_it_says_here(address):
    def fail(job, should_stop):
        raise ValueError(f"job {job} is bad")

    with pytest.raises(ValueError, match=r"^job 7 is bad$"):
        list(run_jobs_on_ray(fail, [7], address=address))


def test_the_shards_are_those_of_the_local_pool(tmp_path, address):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in "abcdef":
        write_film(videos / f"{name}.mp4", counting(8), FAST)
        (videos / f"{name}.txt").write_text(f"film {name} counts\n")
    (videos / "broken.mp4").write_bytes(b"\0" * 999)
    (videos / "broken.txt").write_text("a broken film")
    command = ("-m", "data_tools.pack_videos", videos, *SMALL, "--max-bad-fraction", "0.5", "--out")
    run_warm_ok(*command, tmp_path / "local", "--workers", 2)
    result = python_ok(
        *command, tmp_path / "ray", "--engine", "ray", "--ray-address", address
    )  # fmt: skip
    assert "6 clips out" in result.stdout
    assert files_in(tmp_path / "ray") == files_in(tmp_path / "local")


def test_without_a_cluster_one_line_says_so(tmp_path):
    write_film(tmp_path / "a.mp4", counting(8), FAST)
    (tmp_path / "a.txt").write_text("a film")
    command = ("-m", "data_tools.pack_videos", tmp_path, *SMALL, "--out", tmp_path / "out")
    result = python(*command, "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: --ray-address 127.0.0.1:1: no Ray")
