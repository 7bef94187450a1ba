"""Find the prompts of a folder's videos by list or file names.

A list is prompts.jsonl ({"file": ..., "prompt": ...} per line), prompts.csv or prompts.tsv (columns
file and prompt) or prompts.txt (file, a tab, prompt). Without a list, files must be named
<prompt>-<seed>.<format>, as by generate.py.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from t2vgan.errors import UserError
from t2vgan.media import slug
from t2vgan.utils.tables import Record, read_table, read_text_lines
from t2vgan.utils.untrusted import format_json_type, open_file

LISTS = ("prompts.jsonl", "prompts.csv", "prompts.tsv", "prompts.txt")


def find_prompts(folder: Path, known_prompts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return file -> prompt, and the videos without a prompt.

    Files are relative to the folder and need not exist.

    Raises:
        UserError: there are several lists, a list cannot be read, names a file twice or one outside
            the folder, or no video has a prompt.
    """
    if not folder.is_dir():
        raise UserError(f"videos={folder}: no such folder")
    lists = [name for name in LISTS if (folder / name).is_file()]
    if len(lists) > 1:
        raise UserError(f"videos={folder}: holds {' and '.join(lists)}: keep one of them")
    present = list_videos(folder)
    if lists:
        prompts = dict(_check(folder / lists[0], _read_list(folder / lists[0])))
    else:
        prompts = _parse_names(folder, present, known_prompts)
    if not prompts:
        raise UserError(
            f"videos={folder}: no video has a prompt: list them in prompts.jsonl, a line of "
            '{"file": ..., "prompt": ...} each, or name them as generate.py does'
        )
    folders = {str(parent) for name in prompts for parent in PurePosixPath(name).parents}
    return prompts, [name for name in present if name not in prompts and name not in folders]


def list_videos(folder: Path) -> list[str]:
    """List files and folders of PNG frames, as sorted relative paths."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or not path.is_file():
            continue
        is_frame = path.suffix.lower() == ".png" and len(name.parts) > 1
        found.add((name.parent if is_frame else name).as_posix())
    return sorted(found.difference(LISTS))


def _read_list(path: Path) -> Iterator[Record]:
    """Yield the rows of a list."""
    with open_file(path) as file:
        if path.suffix != ".txt":
            yield from read_table(file, str(path))
            return
        for number, line in read_text_lines(file, str(path)):
            fields = line.strip().split("\t")
            problem = "" if len(fields) == 2 else "must be a file, one tab and a prompt"
            if line.strip():
                values = dict(zip(("file", "prompt"), fields, strict=False))
                yield Record(f"line {number}", values, problem)


def _check(path: Path, rows: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Check each row: a unique file inside the folder, and a prompt."""
    places: dict[str, str] = {}
    for row in rows:
        where = f"{path}, {row.place}"
        if row.problem:
            raise UserError(f"{where}: {row.problem}")
        file, prompt = (_read_text(row, column, where) for column in ("file", "prompt"))
        name = PurePosixPath(file)
        if name.is_absolute() or ".." in name.parts or str(name) == ".":
            raise UserError(f"{where}: {file!r} is not inside the folder")
        if str(name) in places:
            raise UserError(f"{where}: {file} is also on {places[str(name)]}")
        places[str(name)] = row.place
        yield str(name), prompt


def _read_text(row: Record, column: str, where: str) -> str:
    """Return a field without surrounding spaces, or raise UserError."""
    if column not in row.values:
        names = ", ".join([*row.values][:8])
        raise UserError(f"{where}: needs a file and a prompt; its columns are {names or 'none'}")
    value = row.values[column]
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} is {format_json_type(value)}, must be a string")
    if not value.strip():
        raise UserError(f"{where}: needs a file and a prompt; its {column!r} is empty")
    return value.strip()


def _parse_names(folder: Path, present: list[str], known_prompts: Iterable[str]) -> dict[str, str]:
    """Read known prompts from names such as circle-moving-up-7.gif."""
    prompts: dict[str, str] = {}
    by_slug: dict[str, str] = {}
    for prompt in known_prompts:
        if by_slug.setdefault(slug(prompt), prompt) != prompt:
            by_slug[slug(prompt)] = ""  # the name of two prompts is ambiguous
    stems: dict[str, str] = {}
    for name in present:
        stem = str(PurePosixPath(name).with_suffix(""))
        match = re.fullmatch(r"(.+)-\d+", stem)
        if known := match and by_slug.get(match[1]):
            prompts[name] = known
            if (other := stems.setdefault(stem, name)) != name:
                raise UserError(f"videos={folder}: {other} and {name}: keep one format")
    return prompts
