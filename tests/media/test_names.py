"""File names from prompts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.media import (
    slug,
)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("circle moving up-right", "circle-moving-up-right"),
        ("  Circle,  MOVING!  ", "circle-moving"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\n\0b", "a-b"),
    ],
)
def test_slug(prompt, expected):
    assert slug(prompt) == expected


@given(st.text())
def test_slugs_are_safe_short_and_never_empty(prompt):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(prompt))
    assert len(slug(prompt)) <= 64


def test_slugs_of_lost_letters_differ():
    prompts = ["красный круг", "синий круг", "...", "", "x" * 100, "x" * 101, "é", "è"]
    assert len({slug(prompt) for prompt in prompts}) == len(prompts)
