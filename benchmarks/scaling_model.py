"""Compute the expected cost of data parallelism: bytes, all-reduce, latency.

Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009): in a ring of n, each
rank sends 2 (n - 1) / n of the tensor in 2 (n - 1) messages.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """The slowest link of the ring, as seen from one rank."""

    bytes_per_second: float
    latency_seconds: float
    """Latency of one message."""


def ring_seconds(num_bytes: float, world_size: int, network: Network) -> float:
    """Return the time of one all-reduce."""
    messages = 2 * (world_size - 1)
    return (
        messages / world_size * num_bytes / network.bytes_per_second
        + messages * network.latency_seconds
    )


def step_seconds(num_bytes: dict[str, float], world_size: int, network: Network) -> float:
    """Return the time of a step's all-reduces, one per network."""
    if world_size == 1:
        return 0.0
    return sum(ring_seconds(size, world_size, network) for size in num_bytes.values())


def efficiency(compute_seconds: float, communication_seconds: float) -> float:
    """Return clips/s relative to ranks that never communicate.

    A step computes for `compute_seconds` on one rank; communication starts after the last gradient.
    """
    return compute_seconds / (compute_seconds + communication_seconds)
