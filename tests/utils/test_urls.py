"""Locations are recognized, and shown and recorded without secrets."""

import pytest

from t2vgan.utils.urls import host_of, redact, redact_url

HIDDEN = [
    ("https://host/a.mp4", "https://host/a.mp4"),
    ("https://user:pw@host:8/a", "https://***@host:8/a"),
    ("HTTP://token@host/a", "HTTP://***@host/a"),
    ("https://user:p@w'd@host/a@b", "https://***@host/a@b"),
    ("s3://KEY:SECRET@bucket/x", "s3://***@bucket/x"),
    ("abfs://container@account/x", "abfs://container@account/x"),
    ("https://h/a?X-Amz-Signature=abc&v=1", "https://h/a?X-Amz-Signature=***&v=***"),
    ("https://h/a?bare", "https://h/a?***"),
    ("https://h/a?b=c d#token", "https://h/a?b=***#***"),
    ("https://h?b=c/d@e", "https://h?b=***"),
    ("s3://b/what?.mp4", "s3://b/what?.mp4"),
    ("s3://b/a#1?sig=x", "s3://b/a#1?sig=x"),
    ("a/b?c=d.mp4", "a/b?c=d.mp4"),
    ("a?b://c", "a?b://c"),
    ("", ""),
]


@pytest.mark.parametrize(("location", "shown"), HIDDEN)
def test_a_location_is_shown_without_secrets(location, shown):
    assert redact_url(location) == shown
    assert redact_url(shown) == shown


def test_urls_in_a_text_are_shown_without_secrets():
    text = "404, url='https://u:p@h/x?sig=s' (see http://h/y?k=v), and --data.path=s3://a:b@c/d"
    assert redact(text) == (
        "404, url='https://***@h/x?sig=***' (see http://h/y?k=*** and --data.path=s3://***@c/d"
    )
    assert redact("ratio 3:4, a@b, C://x") == "ratio 3:4, a@b, C://x"


def test_long_texts_are_searched_in_linear_time():
    for part in ("a" * 2_000_000, "a://" * 200_000, "@" * 2_000_000, "a://@" * 200_000):
        redact(f"{part}://h/")  # quadratic time would be minutes


@pytest.mark.parametrize(
    "url",
    ["http://Host:80/x", "http://u:p@host/x", "https://host?a@b", "https://a@b@host#c",
     "http://host\\@other/"],
)  # fmt: skip
def test_the_host_of_a_url(url):
    assert host_of(url) == "host"


def test_the_host_of_an_address():
    assert host_of("http://[::1]:80/x") == "::1"
