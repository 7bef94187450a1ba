"""Encode times between trained frames by a smooth curve.

In training a network sees the times of T frames only. Between them its output is unconstrained:
objects would stop at every trained time and leap to the next (dev/LOG.md). So codes of other times
are interpolated.
"""

import torch
from torch import Tensor


def choose_encoded_times(times: Tensor, trained_frames: int | None) -> Tensor:
    """Return the times (B, T) to encode for drawing times (B, K).

    These are `times` if `trained_frames` is None; else that many, evenly spaced from 0 to 1.
    """
    if trained_frames is None:
        return times
    trained = torch.linspace(0, 1, trained_frames, dtype=times.dtype, device=times.device)
    return trained.expand(times.shape[0], -1)


def interpolate_codes(codes: Tensor, times: Tensor, trained_frames: int | None) -> Tensor:
    """Return the codes (B, K, E) of times (B, K).

    `codes` (B, T, E) are those of `choose_encoded_times`. Codes are read off a curve along them,
    except for a clip at exactly the trained times. There is no branch on K, so that exported
    networks accept any.
    """
    if trained_frames is None:
        return codes
    places = times * (trained_frames - 1)  # B K
    nearest = places.round().clamp(0, trained_frames - 1)
    num_times = torch.ones_like(times).sum(1)  # B
    is_trained = (num_times == trained_frames) & ((places - nearest).abs().amax(1) < 1e-3)
    index = nearest.long().unsqueeze(2).expand(-1, -1, codes.shape[2])
    own = codes.gather(1, index)  # B K E
    return torch.where(is_trained[:, None, None], own, evaluate_curve(codes, times))


def evaluate_curve(values: Tensor, times: Tensor) -> Tensor:
    """Evaluate a smooth curve along evenly spaced values at any times.

    values (B, T, E) at evenly spaced times from 0 to 1, times (B, K) -> (B, K, E).

    The curve is the cubic B-spline with control points (8 v[i] - v[i-1] - v[i+1]) / 6, the
    quasi-interpolant of de Boor, A Practical Guide to Splines, chapter XII. It starts and ends at
    the first and the last value, and reproduces straight lines and, away from the ends, all cubics.
    Other values it approximates: it about halves variation that alternates from value to value, the
    jitter of a trained network.
    """
    num_values = values.shape[1]
    if num_values == 1:
        return values.expand(-1, times.shape[1], -1)
    first, last = values[:, :1], values[:, -1:]
    # Add two values at each end by point reflection, which keeps straight lines.
    values = torch.cat([2 * first - values[:, 1:2], values, 2 * last - values[:, -2:-1]], dim=1)
    values = torch.cat([2 * first - values[:, 3:4], values, 2 * last - values[:, -4:-3]], dim=1)
    places = torch.arange(-2, num_values + 2, dtype=times.dtype, device=times.device)  # T+4
    distance = times.unsqueeze(2) * (num_values - 1) - places  # B K T+4
    weights = 8 * b_spline(distance) - b_spline(distance - 1) - b_spline(distance + 1)
    return weights / 6 @ values


def b_spline(distance: Tensor) -> Tensor:
    """Compute the cubic B-spline, which is zero from distance 2 on."""
    distance = distance.abs()
    return ((2 - distance).clamp(min=0) ** 3 - 4 * (1 - distance).clamp(min=0) ** 3) / 6
