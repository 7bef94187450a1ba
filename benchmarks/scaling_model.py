"""Compute what data parallelism should cost: bytes, ring all-reduce, latency.

Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009): in a ring of n, each
rank sends 2 (n - 1) / n of the tensor in 2 (n - 1) messages.
"""

from dataclasses import dataclass

BUCKET_BYTES = 25 * 2**20  # DistributedDataParallel sums gradients in parts of this size
FIRST_BUCKET_BYTES = 2**20


@dataclass(frozen=True)
class Network:
    """Slowest link of the ring, seen from one rank."""

    bytes_per_second: float
    latency_seconds: float
    """Of one message."""


@dataclass(frozen=True)
class Efficiency:
    """Bounds of clips/s relative to ranks that never communicate."""

    lowest: float
    """Sums begin when the last gradient is there."""
    highest: float
    """Sums hide behind the computation as far as they fit."""


def ring_seconds(num_bytes: float, world_size: int, network: Network) -> float:
    """Return the time of one all-reduce."""
    messages = 2 * (world_size - 1)
    return (
        messages / world_size * num_bytes / network.bytes_per_second
        + messages * network.latency_seconds
    )


def num_buckets(num_bytes: float) -> int:
    """Return how many buckets DistributedDataParallel uses for a network's gradients."""
    rest = max(0.0, num_bytes - FIRST_BUCKET_BYTES)
    return 1 + int(-(-rest // BUCKET_BYTES))


def step_seconds(num_bytes: dict[str, float], world_size: int, network: Network) -> float:
    """Return what summing both networks' gradients costs a step."""
    if world_size == 1:
        return 0.0
    return sum(
        num_buckets(size) * ring_seconds(size / num_buckets(size), world_size, network)
        for size in num_bytes.values()
    )


def efficiency(compute_seconds: float, communication_seconds: float) -> Efficiency:
    """Return bounds for a step of `compute_seconds` on one rank."""
    return Efficiency(
        lowest=compute_seconds / (compute_seconds + communication_seconds),
        highest=compute_seconds / max(compute_seconds, communication_seconds),
    )
