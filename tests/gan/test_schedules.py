"""Schedules at the points where their formulas are plain."""

import pytest

from t2vgan.gan.schedules import cosine, log_linear


def test_cosine_holds_then_falls_by_half_a_cosine():
    assert cosine(0.0, start=2.0, end=1.0, hold=0.4) == 2.0
    assert cosine(0.4, start=2.0, end=1.0, hold=0.4) == 2.0
    assert cosine(0.7, start=2.0, end=1.0, hold=0.4) == pytest.approx(1.5)
    assert cosine(0.5, start=2.0, end=1.0) == pytest.approx(1.5)
    assert cosine(0.25, start=1.0, end=0.0) == pytest.approx((1 + 2**-0.5) / 2)
    assert cosine(1.0, start=2.0, end=1.0, hold=0.4) == pytest.approx(1.0)
    assert cosine(1.0, start=2.0, end=1.0, hold=1.0) == 2.0


def test_after_the_end_a_cosine_stays_as_it_is_there():
    """A dry run tries its steps however short the run is."""
    assert cosine(1.5, start=2.0, end=1.0) == cosine(1.0, start=2.0, end=1.0)
    assert cosine(1.5, start=2.0, end=1.0, hold=1.0) == 2.0


def test_log_linear_multiplies_by_equal_factors():
    assert log_linear(0.0, start=8.0, end=2.0, until=0.5) == 8.0
    assert log_linear(0.25, start=8.0, end=2.0, until=0.5) == pytest.approx(4.0)
    assert log_linear(0.5, start=8.0, end=2.0, until=0.5) == 2.0
    assert log_linear(0.9, start=8.0, end=2.0, until=0.5) == 2.0
