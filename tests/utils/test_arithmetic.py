"""Every command that uses a device fixes its arithmetic."""

import pytest
import torch

from t2vgan.distributed.context import DistributedContext


@pytest.fixture
def flags():
    """Set every flag the other way round, and restore all of them afterwards."""
    backends = {
        "cudnn.deterministic": True,
        "cudnn.benchmark": False,
        "cudnn.allow_tf32": False,
        "cuda.matmul.allow_tf32": False,
    }
    places = {name: (find(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in backends}
    before = {name: getattr(*place) for name, place in places.items()}
    for name, (owner, flag) in places.items():
        setattr(owner, flag, not backends[name])
    yield lambda: {name: getattr(*place) == backends[name] for name, place in places.items()}
    for name, (owner, flag) in places.items():
        setattr(owner, flag, before[name])


def find(name: str) -> object:
    found = torch.backends
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_a_context_fixes_cudas_arithmetic(flags):
    assert not any(flags().values())
    DistributedContext(num_cpu_threads=1)
    assert all(flags().values())
