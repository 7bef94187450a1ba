"""Untrusted files and JSON are read within limits, or refused."""

import io
import json
import os

import pytest

from t2vgan.utils import untrusted
from t2vgan.utils.untrusted import JsonError, parse_json, read_bytes, read_json, read_lines


@pytest.mark.parametrize("value", [None, 1, [1.5, "é"], {"a": [{"b": "\N{GRINNING FACE}"}]}])
def test_values_come_back_as_written(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse_json(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "line 1 column 4"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'["\\ud800"]', "surrogate"),
        ('["\udcff"]', "surrogate"),
        (b"9" * 5000, "an integer of more than the limit of 4300 digits"),
        (b"[" * 200_000, "deeper than the limit of 100"),
        (b'{"a":' * 200_000, "deeper than the limit of 100"),
        (b"[" * 101 + b"]" * 101, "deeper than the limit of 100"),
        (b"[" + b"[]," * untrusted.MAX_JSON_VALUES + b"[]]", "4000000 values"),
    ],
)
def test_what_is_no_json_is_refused_with_its_reason(text, reason):
    with pytest.raises(JsonError, match=reason):
        parse_json(text)


def test_brackets_and_commas_in_strings_are_no_structure():
    brackets = '[{"' * 1000
    assert parse_json(json.dumps({brackets: [brackets] * 3})) == {brackets: [brackets] * 3}
    assert parse_json(json.dumps(text := "," * untrusted.MAX_JSON_VALUES)) == text
    assert parse_json("[" * 100 + "]" * 100)


def test_an_open_string_of_quotes_is_refused_at_once():
    with pytest.raises(JsonError):
        parse_json("[" * 101 + '"' + '\\"' * 1_000_000)  # quadratic time would be minutes


@pytest.mark.parametrize("text", [b'["\xff"]', b'["\\ud800"]', '["\udcff"]'])
def test_what_is_no_unicode_is_replaced_on_demand(text):
    (replaced,) = parse_json(text, errors="replace")
    assert replaced in ("?", "\N{REPLACEMENT CHARACTER}")


def test_constants_that_are_no_json_are_converted():
    values = parse_json("[NaN, Infinity, -Infinity]", parse_constant=lambda name: name)
    assert values == ["NaN", "Infinity", "-Infinity"]
    assert parse_json("[Infinity]") == [float("inf")]


def test_files_are_read_and_their_faults_name_them(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1]")
    assert read_json(path) == [1]
    path.write_text("[1")
    with pytest.raises(JsonError, match=r"a\.json: not JSON"):
        read_json(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_json(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_json("/dev/zero")
    with pytest.raises(IsADirectoryError):
        read_json(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent")


def test_a_file_above_the_limit_is_not_read(tmp_path):
    path = tmp_path / "sparse.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="larger than the limit of 1000 bytes"):
        read_bytes(path, 1000)


def test_long_lines_are_passed_over():
    file = io.BytesIO(b"short\n" + b"x" * 5000 + b"\n" + b"y" * 10 + b"\nlast")
    assert list(read_lines(file, 10)) == [
        (1, b"short\n"), (2, None), (3, None), (4, b"last"),
    ]  # fmt: skip
