"""The curve between trained times: closed forms."""

import pytest
import torch

from t2vgan.models.time_spline import (
    choose_encoded_times,
    evaluate_curve,
    interpolate_codes,
)


def even_times(num: int) -> torch.Tensor:
    return torch.linspace(0, 1, num, dtype=torch.float64)


def curve_through(values: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Evaluate the curve of one clip's values (T,) at times (K,)."""
    return evaluate_curve(values.view(1, -1, 1), times.unsqueeze(0)).flatten()


@pytest.mark.parametrize("num_values", [1, 2, 3, 4, 10])
def test_lines_stay_lines(num_values):
    values, times = even_times(num_values), even_times(64)
    expected = 5 - 3 * times if num_values > 1 else torch.full_like(times, 5)
    torch.testing.assert_close(curve_through(5 - 3 * values, times), expected)


def test_away_from_the_ends_cubics_stay_cubics():
    def cubic(t):
        return 2 * t**3 - t**2 + 0.3 * t - 4

    times = even_times(181)
    inside = (times >= 3 / 9) & (times <= 6 / 9)
    curve = curve_through(cubic(even_times(10)), times)
    torch.testing.assert_close(curve[inside], cubic(times)[inside])


@pytest.mark.parametrize("num_values", [2, 3, 10])
def test_the_curve_has_the_values_ends_and_no_corners(num_values):
    torch.manual_seed(0)
    values = torch.randn(num_values, dtype=torch.float64)
    curve = curve_through(values, even_times(2001))
    torch.testing.assert_close(curve[[0, -1]], values[[0, -1]])
    step = 1 / 2000
    velocity = curve.diff() / step
    steepest = velocity.diff().abs().max() / step
    assert steepest < 20 * values.abs().max() * num_values**2, "a corner's grows with 1 / step"


def test_what_alternates_is_halved():
    signs = (-1.0) ** torch.arange(20, dtype=torch.float64)
    curve = curve_through(signs, even_times(20))
    torch.testing.assert_close(curve[4:-4], 10 / 6 * 2 / 6 * signs[4:-4])


def test_clips_have_their_own_times():
    torch.manual_seed(0)
    values, times = torch.randn(2, 7, 3), torch.rand(2, 5)
    both = evaluate_curve(values, times)
    for clip in range(2):
        single = evaluate_curve(values[clip : clip + 1], times[clip : clip + 1])
        torch.testing.assert_close(both[clip : clip + 1], single)


def test_between_trained_times_only_trained_times_are_encoded():
    times = torch.rand(3, 8)
    assert torch.equal(choose_encoded_times(times, None), times)
    trained = torch.tensor([0, 0.25, 0.5, 0.75, 1]).expand(3, -1)
    assert torch.equal(choose_encoded_times(times, 5), trained)
    codes = trained.unsqueeze(2) ** 2
    assert torch.equal(interpolate_codes(codes, trained, None), codes)
    assert interpolate_codes(codes, times, 5).shape == (3, 8, 1)


def test_trained_times_have_their_own_codes():
    trained = even_times(5)
    times = torch.stack([trained, trained + 0.02])
    codes = torch.stack([trained.sin(), 3 * trained], dim=1).expand(2, -1, -1)
    found = interpolate_codes(codes, times, 5)
    assert torch.equal(found[0], codes[0])
    torch.testing.assert_close(found[1:], evaluate_curve(codes[1:], times[1:]))
    shorter = interpolate_codes(codes[:1], times[:1, ::4], 5)
    torch.testing.assert_close(shorter, codes[:1, ::4])
