"""Run jobs on a Ray cluster whose nodes see the same files."""

import importlib.util
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from t2vgan.errors import UserError
from t2vgan.utils.console import first_line

from .protocol import ShouldStop
from .worker_pool import Job, Result

CONNECT_SECONDS = 10
MAX_RETRIES = 3  # per job, if its node or process is lost


def run_jobs_on_ray(
    function: Callable[[Job, ShouldStop], Result],
    jobs: Sequence[Job],
    *,
    num_workers: int = 0,
    address: str = "auto",
) -> Iterator[Result]:
    """Yield `function(job, should_stop)` of every job, like `run_jobs`.

    Every CPU of the cluster runs one job at a time; `num_workers` is ignored.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray needs Ray: pip install 't2vgan[ray]'")
    import ray

    try:
        check_address(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError:
        raise UserError(f"--ray-address {address}: no Ray cluster is running there") from None
    waiting: deque[Job] = deque(jobs)
    running: list[Any] = []
    try:
        run: Any = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_run_job)
        # one job running and one queued on each CPU
        max_running = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting or running:
            while waiting and len(running) < max_running:
                running.append(run.remote(function, waiting.popleft()))
            done, running = ray.wait(running)
            yield from ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise UserError(
            f"the Ray cluster lost a job ({first_line(error)}); run the same command again to"
            " continue"
        ) from None
    finally:
        for job in running:
            ray.cancel(job, force=True)
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise OSError if nothing answers; Ray itself would need minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def _run_job(function: Callable[[Job, ShouldStop], Result], job: Job) -> Result:
    return function(job, lambda: False)
