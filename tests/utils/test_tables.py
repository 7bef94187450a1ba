"""Lists of others: every row as it stands in the file, or an error with its line."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.errors import UserError
from t2vgan.utils import tables, untrusted
from t2vgan.utils.tables import read_table, read_text_lines

HEADER = "video,prompt\n"


def read(text: str | bytes, name: str = "list.csv") -> list[tuple[str, dict, str]]:
    data = text.encode() if isinstance(text, str) else text
    return [(r.place, dict(r.values), r.problem) for r in read_table(io.BytesIO(data), name)]


def values(text: str | bytes, name: str = "list.csv") -> list[dict]:
    rows = read(text, name)
    assert not [problem for _, _, problem in rows if problem]
    return [row for _, row, _ in rows]


CAPTION = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.tuples(CAPTION, CAPTION), max_size=4), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_what_was_written_is_read(rows, kind):
    """Captions of line ends, quotes, delimiters and every other character."""
    expected = [{"video": video, "prompt": prompt} for video, prompt in rows]
    if kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in expected)
    else:
        file = io.StringIO(newline="")
        delimiter = tables.DELIMITERS[f".{kind}"]
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("video", "prompt"), *rows])
        text = file.getvalue()
    assert values(text, f"list.{kind}") == expected


PIECES = [
    b"video,prompt", b"video\tprompt", b'"', b"a.mp4", b",", b"\n", b"\r", b"{", b'"a":', b"}",
    b"\xff", b"\0", b"\xef\xbb\xbf", b"[1]", b"\xe2\x80\xa8",
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4))))
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_any_bytes_are_rows_or_one_error(kind, pieces):
    try:
        found = [place for place, _, _ in read(b"".join(pieces), f"list.{kind}")]
    except UserError as error:
        found = [str(error).removeprefix(f"list.{kind}: ")]
    assert all(place.startswith("line ") for place in found)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
def test_only_a_line_feed_ends_a_line(separator, kind):
    caption = f"a cat{separator}b.mp4,runs"
    if kind == "csv":
        assert values(f'{HEADER}a.mp4,"{caption}"\n')[0]["prompt"] == caption
    elif kind == "jsonl":
        line = json.dumps({"prompt": caption}, ensure_ascii=ord(separator) < 32)
        assert values(line, "list.jsonl") == [{"prompt": caption}]
    else:
        lines = list(read_text_lines(io.BytesIO(f"{caption}\r\nlast".encode()), "a.txt"))
        assert lines == [(1, f"{caption}\r\n"), (2, "last")]


def test_blank_lines_spaces_in_the_header_and_a_byte_order_mark_change_nothing():
    text = "\ufeff\n video , prompt,\r\na.mp4,a cat,1\r\n\r\n  \nb.mp4,,2\n"
    assert values(text) == [
        {"video": "a.mp4", "prompt": "a cat", "": "1"},
        {"video": "b.mp4", "prompt": "", "": "2"},
    ]
    assert values('\ufeff{"a": 1}\n\n{"a": 2}', "list.jsonl") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ('a.mp4,"a big cat\nb.mp4,plain\nc.mp4,last\n', "2 .read to line 4.", "never closed"),
        ('a.mp4,one\nb.mp4,"a big cat\nc.mp4,"last"\n', "3 .read to line 4.", "follows a closing"),
        ('a.mp4,"a big cat\n"b.mp4","plain"\n', "2 .read to line 3.", "follows a closing quote"),
        ('a.mp4,"she said "hello" to him"\n', "2", "each quote is doubled"),
        ("a.mp4,one\rb.mp4,two\r", "2", "carriage return"),
    ],
)
def test_quotes_that_do_not_match_are_an_error_with_the_line(rows, line, message):
    with pytest.raises(UserError, match=rf"^list\.csv: line {line}: .*{message}"):
        read(HEADER + rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.mp4,a cat, a dog and a cow", "3 fields for 2 columns; fields that hold commas"),
        ("b.mp4", "1 fields for 2 columns"),
        ('b.mp4, "a cat, a dog"', "3 fields for 2 columns"),
    ],
)
def test_a_row_of_other_length_is_one_problem(row, message):
    first, problem, last = read(f"{HEADER}a.mp4,one\n{row}\nc.mp4,two\n")
    assert first[1]["prompt"] == "one"
    assert last[1]["prompt"] == "two"
    assert problem[0] == "line 3"
    assert message in problem[2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file,prompt\n0.gif,café\n".encode("cp1252"), r"line 2: .*0xe9 .in Windows-1252 'é'., is"),
        ("file,prompt\n0.gif,a “cat”\n".encode("cp1252"), r"line 2: .*0x93 .in Windows-1252 '“'"),
        ("file,prompt\n".encode("utf-16"), "line 1: the list is UTF-16; save it as UTF-8"),
        ("\ufefffile,prompt\n".encode("utf-16-be"), "line 1: the list is UTF-16"),
        ("file,prompt\n".encode("utf-16-le"), "line 1: holds NUL bytes, as in UTF-16"),
        ("file,prompt\n".encode("utf-16-be"), "line 1: holds NUL bytes, as in UTF-16"),
        ("file,prompt\n".encode("utf-32"), "line 1: the list is UTF-32"),
        ("file,prompt\n0.gif,猫\n".encode("shift-jis"), "line 2: byte 7, 0x94 .*not UTF-8"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
def test_other_encodings_are_named_with_their_line(data, message, kind):
    with pytest.raises(UserError, match=message):
        list(
            read_text_lines(io.BytesIO(data), "a.txt") if kind == "txt" else read(data, f"a.{kind}")
        )


@pytest.mark.parametrize(
    ("header", "name", "message"),
    [
        ("video;prompt", "list.csv", "divided by semicolons; a .csv has commas"),
        ("video\tprompt", "list.csv", "divided by tabs; a .csv has commas, a .tsv tabs"),
        ("video,prompt", "list.tsv", "divided by commas; "),
        ("video,prompt,prompt", "list.csv", "two columns are called 'prompt'; rename one"),
        ("prompt , video,prompt", "list.csv", "two columns are called 'prompt'"),
    ],
)
def test_a_first_line_of_another_kind_says_what_it_is(header, name, message):
    with pytest.raises(UserError, match=f"{name}: line 1: .*{message}"):
        read(f"{header}\na.mp4,x\n", name)


def test_lines_that_are_no_objects_say_what_they_are():
    lines = ['{"a": 1}', "[1]", "3", '"x"', "null", "{", "9" * 5000, "[" * 10_000]
    found = [problem for _, _, problem in read("\n".join(lines), "list.jsonl")]
    kinds = ["array", "number", "string", "null"]
    assert found[:5] == ["", *(f"a JSON {kind}, must be a JSON object" for kind in kinds)]
    for problem, message in zip(found[5:], ("not JSON", "4300 digits", "deeper"), strict=True):
        assert message in problem


def test_lists_are_limited(monkeypatch):
    field = "x" * 200_000
    assert values(f"{HEADER}a.mp4,{field}\n")[0]["prompt"] == field, "longer than csv's own limit"
    line = "x" * untrusted.MAX_JSON_LINE_BYTES
    with pytest.raises(UserError, match="line 2: longer than the limit of 16777216 bytes"):
        read(f"{HEADER}a.mp4,{line}\n")
    with pytest.raises(UserError, match=r"line 2 .*a field has more than the limit"):
        read(f'{HEADER}a.mp4,"{line[:-100]}\n{line[:-100]}"\n')
    monkeypatch.setattr(tables, "MAX_TABLE_ROWS", 2)
    with pytest.raises(UserError, match="more than the limit of 2 rows"):
        read(HEADER + "a.mp4,x\n" * 3)
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 20)
    with pytest.raises(UserError, match="line 2: more than the limit of 20 bytes"):
        list(read_text_lines(io.BytesIO(b"x" * 15 + b"\n" + b"x" * 15), "a.txt"))
