"""Schedules: pure functions of a run's progress, 0 at its start and 1 at its end."""

import math


def cosine(progress: float, *, start: float, end: float, hold: float = 0.0) -> float:
    """Return `start` until `hold`, then half a cosine down (or up) to `end` at 1."""
    progress = min(progress, 1.0)
    if progress <= hold:
        return start
    fall = (progress - hold) / (1.0 - hold)
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * fall))


def log_linear(progress: float, *, start: float, end: float, until: float = 1.0) -> float:
    """Return start * (end / start) ** (progress / until), constant at `end` after `until`."""
    if progress >= until:
        return end
    return start * (end / start) ** (progress / until)
