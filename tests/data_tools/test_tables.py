"""Tables as sources: every row is a video with its caption, or a named problem."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from data_tools.videos.input_list import parquet as parquet_reader
from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from t2vgan.errors import UserError
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES
from tests.support.sources import captions_of, problems_of, read


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def write_lines(folder: Path, *records: object) -> Path:
    return write(folder, "metadata.jsonl", "".join(json.dumps(r) + "\n" for r in records))


def test_a_tab_table_in_a_folder_is_read(tmp_path):
    write(tmp_path, "metadata.tsv", "video\tprompt\na.mp4\ta cat, a dog\n")
    assert captions_of(read(tmp_path)) == {"a.mp4": "a cat, a dog"}


def test_a_bare_comma_in_a_caption_is_a_failed_row(tmp_path):
    write(tmp_path, "metadata.csv", "video,prompt\na.mp4,a cat, a dog and a cow\nb.mp4,plain\n")
    source = read(tmp_path)
    assert captions_of(source) == {"b.mp4": "plain"}
    (row, _) = source.rows
    assert row.problem.startswith("metadata.csv line 2: 3 fields for 2 columns")
    assert (row.source, row.problem_kind) == ("metadata.csv", "list")


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [(["one", "two"], "array"), ({"en": "x"}, "object"), (3, "number"), (True, "boolean")],
)
def test_a_caption_that_is_no_text_says_what_it_is(tmp_path, prompt, kind):
    write_lines(tmp_path, {"video": "a.mp4", "prompt": prompt}, {"video": "b.mp4", "prompt": "x"})
    source = read(tmp_path)
    assert captions_of(source) == {"b.mp4": "x"}
    expected = f"no caption: metadata.jsonl line 1: 'prompt' is a JSON {kind}, must be a string"
    assert problems_of(source) == [expected]
    assert source.rows[0].problem_kind == "prompt"


def test_a_first_row_without_a_caption_is_one_failure(tmp_path):
    write_lines(
        tmp_path, {"video": "a.mp4"}, {"video": "b.mp4", "text": None}, {"video": "c.mp4",
        "text": "a cat"}, {"text": "lost"}, {"video": 7, "text": "a number"}, [],
    )  # fmt: skip
    source = read(tmp_path)
    assert captions_of(source) == {"c.mp4": "a cat"}
    assert problems_of(source) == [
        "no caption: metadata.jsonl line 1 has none",
        "no caption: metadata.jsonl line 2 has none",
        "metadata.jsonl line 4 names no video",
        "metadata.jsonl line 5: 'video' is a JSON number, must be a string",
        "metadata.jsonl line 6: a JSON array, must be a JSON object",
    ]


def test_a_table_without_captions_names_its_columns(tmp_path):
    write_lines(tmp_path, {"video": "a.mp4"}, {"video": "b.mp4", "words": "a cat"})
    with pytest.raises(
        UserError, match="columns are video, words; choose one with --prompt-column"
    ):
        read(tmp_path)
    source = read_source(str(tmp_path), Columns(prompt="words"))
    assert captions_of(source) == {"b.mp4": "a cat"}
    write(tmp_path, "metadata.csv", "a.mp4,a cat\nb.mp4,a dog\n")
    message = r"no column video or .*; its columns are a.mp4, a cat; .* columns in the first line"
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_spaces_around_names_of_columns_do_not_matter(tmp_path):
    write_lines(tmp_path, {" video": "a.mp4", "Prompt": "x", "caption ": "a cat"})
    assert captions_of(read(tmp_path)) == {"a.mp4": "a cat"}
    write(tmp_path, "metadata.csv", "video , prompt\na.mp4, a dog\n")
    assert captions_of(read(tmp_path)) == {"a.mp4": " a dog"}


def test_two_texts_are_matched_line_by_line(tmp_path):
    write(tmp_path, "videos.txt", "a.mp4\r\nb.mp4\nc.mp4\n\n")
    write(tmp_path, "prompts.txt", "a\u2028cat\n\na\x85dog\n\n\n")
    source = read(tmp_path)
    assert [row.prompt for row in source.rows] == ["a\u2028cat", "", "a\x85dog"]
    write(tmp_path, "prompts.txt", "a cat\n\nb\nc\n")
    with pytest.raises(UserError, match=r"videos.txt has 3 lines and prompts.txt 4"):
        read(tmp_path)
    (tmp_path / "prompts.txt").write_bytes("a cat\n\ncafé\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"prompts.txt: line 3: .*Windows-1252 'é'"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"prompts.txt holds captions; give its folder"):
        read(tmp_path / "prompts.txt")


# ---- Parquet ------------------------------------------------------------------------------------


def write_parquet(folder: Path, prompts: object, *, name: str = "prompt", **options) -> Path:
    column = pyarrow.array(prompts) if isinstance(prompts, list) else prompts
    videos = pyarrow.array([f"{i}.mp4" for i in range(len(column))])
    table = pyarrow.Table.from_arrays([videos, column], names=["video", name])
    parquet.write_table(table, folder / "metadata.parquet", **options)
    return folder


def test_rows_of_parquet(tmp_path):
    long = "x" * 2_000_000
    words = pyarrow.array(["a cat", None, "a\ndog", long]).dictionary_encode()
    source = read(write_parquet(tmp_path, words, row_group_size=1))
    captions = captions_of(source)
    assert captions.pop("3.mp4") == long[:MAX_CAPTION_BYTES]
    assert captions == {"0.mp4": "a cat", "2.mp4": "a\ndog"}
    assert problems_of(source) == ["no caption: metadata.parquet row 2 has none"]


def write_twice(folder: Path) -> None:
    names = ["video", "prompt", "prompt"]
    arrays = [pyarrow.array(["x"])] * 3
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names), folder / "metadata.parquet")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda f: write_parquet(f, [["one", "two"]]),
            "'prompt' holds list<.*, but must hold strings",
        ),
        (write_twice, "two columns are called 'prompt'; rename one"),
        (lambda f: write_parquet(f, ["x"], name="words"), "columns are video, words; choose one"),
        (lambda f: write(f, "metadata.parquet", "PAR1" * 9), "is not a valid Parquet file"),
    ],
)
def test_parquet_of_other_content_is_one_line(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_parquet_that_expands_without_end_is_refused(tmp_path):
    """A caption of 64 MB for each of 20,000 rows, and 2,000,000,000 rows, in small files."""
    text = pyarrow.array(["x" * (64 << 20)])
    bomb = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, "int32"), text)
    write_parquet(tmp_path, bomb, compression="zstd", store_schema=False)
    assert (tmp_path / "metadata.parquet").stat().st_size < 1 << 20
    with pytest.raises(UserError, match="needs more than the limit of 1024 MB"):
        read(tmp_path)


def test_parquet_of_more_rows_or_bytes_than_the_limits(tmp_path, monkeypatch):
    write_parquet(tmp_path, ["x" * 100] * 9)
    monkeypatch.setattr(parquet_reader, "MAX_TABLE_BYTES", 500)
    with pytest.raises(UserError, match="more than the limit of 500 bytes"):
        read(tmp_path)
    nulls = pyarrow.nulls(parquet_reader.MAX_TABLE_ROWS + 1, pyarrow.string())
    table = pyarrow.table({"video": nulls, "prompt": nulls})
    parquet.write_table(table, tmp_path / "metadata.parquet")
    with pytest.raises(UserError, match="more than the limit of 4000000 rows; divide it"):
        read(tmp_path)
