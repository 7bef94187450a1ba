"""Find the prompts of a folder's videos: a list, or file names.

A list is prompts.jsonl ({"file": ..., "prompt": ...} a line), prompts.csv (columns file and prompt)
or prompts.txt (file, a tab, prompt). Without one, a file is called <prompt>-<seed>.<format>, as
generate.py names it.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from t2vgan.errors import UserError
from t2vgan.media import slug

LISTS = ("prompts.jsonl", "prompts.csv", "prompts.txt")


def find_prompts(folder: Path, known_prompts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return file -> prompt, and the videos without a prompt.

    Files are relative to the folder and need not exist.

    Raises:
        UserError: a list cannot be read, names a file twice or outside the folder, or no video
            of the folder has a prompt.
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
    """List files, and folders of PNG frames, relative and sorted."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or not path.is_file():
            continue
        is_frame = path.suffix.lower() == ".png" and len(name.parts) > 1
        found.add((name.parent if is_frame else name).as_posix())
    return sorted(found.difference(LISTS))


def _read_list(path: Path) -> Iterator[tuple[int, object, object]]:
    """Yield line number, file and prompt of every line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines())
        if not {"file", "prompt"} <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: its first line must name the columns file and prompt")
        yield from ((reader.line_num, row["file"], row["prompt"]) for row in reader)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        if path.suffix == ".txt":
            file, _, prompt = line.partition("\t")
            yield number, file, prompt
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from None
        row = row if isinstance(row, Mapping) else {}
        yield number, row.get("file"), row.get("prompt")


def _check(path: Path, rows: Iterable[tuple[int, object, object]]) -> Iterator[tuple[str, str]]:
    """Check each row: a unique file inside the folder, and a prompt."""
    lines: dict[str, int] = {}
    for number, file, prompt in rows:
        if not (isinstance(file, str) and isinstance(prompt, str)) or not file or not prompt:
            raise UserError(f"{path}, line {number}: needs a file and a prompt")
        name = PurePosixPath(file.strip())
        if name.is_absolute() or ".." in name.parts or str(name) == ".":
            raise UserError(f"{path}, line {number}: {file!r} is not inside the folder")
        if str(name) in lines:
            raise UserError(f"{path}, line {number}: {file} is on line {lines[str(name)]} too")
        lines[str(name)] = number
        yield str(name), prompt.strip()


def _parse_names(folder: Path, present: list[str], known_prompts: Iterable[str]) -> dict[str, str]:
    """Read known prompts from names such as circle-moving-up-7.gif."""
    prompts: dict[str, str] = {}
    by_slug: dict[str, str] = {}
    for prompt in known_prompts:
        if by_slug.setdefault(slug(prompt), prompt) != prompt:
            by_slug[slug(prompt)] = ""  # two prompts: the name is ambiguous
    stems: dict[str, str] = {}
    for name in present:
        stem = str(PurePosixPath(name).with_suffix(""))
        match = re.fullmatch(r"(.+)-\d+", stem)
        if known := match and by_slug.get(match[1]):
            prompts[name] = known
            if (other := stems.setdefault(stem, name)) != name:
                raise UserError(f"videos={folder}: {other} and {name}: keep one format")
    return prompts
