"""A distributed context of one process, which all tests here share."""

import pytest

from t2vgan.distributed.context import DistributedContext


@pytest.fixture(scope="module")
def processes() -> DistributedContext:
    return DistributedContext(num_cpu_threads=1)
