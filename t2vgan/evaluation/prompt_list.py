"""Which file of a folder shows which prompt: a list in the folder, or names as generate.py gives.

A list is prompts.jsonl ({"file": ..., "prompt": ...} a line), prompts.csv (columns file and prompt)
or prompts.txt (file, a tab, prompt). Without one, a file is called <prompt>-<seed>.<format>.
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
    """Return file -> prompt, and the videos in the folder that have no prompt.

    Files are relative to the folder and need not exist. Raises UserError for a list that cannot be
    read, that names a file twice or outside the folder, and for a folder that holds no video.
    """
    if not folder.is_dir():
        raise UserError(f"videos={folder}: no such folder")
    lists = [name for name in LISTS if (folder / name).is_file()]
    if len(lists) > 1:
        raise UserError(f"videos={folder}: holds {' and '.join(lists)}: keep one of them")
    present = list_videos(folder)
    if lists:
        prompts = dict(_unique(folder / lists[0], _read_list(folder / lists[0])))
    else:
        prompts = _from_names(folder, present, known_prompts)
    if not prompts:
        raise UserError(
            f"videos={folder}: no video has a prompt: list them in prompts.jsonl, a line of "
            '{"file": ..., "prompt": ...} each, or name them as generate.py does'
        )
    folders = {str(parent) for name in prompts for parent in PurePosixPath(name).parents}
    return prompts, [name for name in present if name not in prompts and name not in folders]


def list_videos(folder: Path) -> list[str]:
    """Return what may be a video: files, and folders that hold PNG frames; relative, sorted."""
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


def _unique(path: Path, rows: Iterable[tuple[int, object, object]]) -> Iterator[tuple[str, str]]:
    """Check every row: a file inside the folder, named once, and a prompt."""
    lines: dict[str, int] = {}
    for number, file, prompt in rows:
        if not (isinstance(file, str) and isinstance(prompt, str)) or not file or not prompt:
            raise UserError(f"{path}, line {number}: needs a file and a prompt")
        place = PurePosixPath(file.strip())
        if place.is_absolute() or ".." in place.parts or str(place) == ".":
            raise UserError(f"{path}, line {number}: {file!r} is not inside the folder")
        if str(place) in lines:
            raise UserError(f"{path}, line {number}: {file} is on line {lines[str(place)]} too")
        lines[str(place)] = number
        yield str(place), prompt.strip()


def _from_names(folder: Path, present: list[str], known_prompts: Iterable[str]) -> dict[str, str]:
    """Read prompts from names such as circle-moving-up-7.gif, as far as the prompt is known."""
    prompts: dict[str, str] = {}
    by_slug: dict[str, str] = {}
    for prompt in known_prompts:
        if by_slug.setdefault(slug(prompt), prompt) != prompt:
            by_slug[slug(prompt)] = ""  # two prompts: the name does not tell
    stems: dict[str, str] = {}
    for name in present:
        stem = str(PurePosixPath(name).with_suffix(""))
        match = re.fullmatch(r"(.+)-\d+", stem)
        if known := match and by_slug.get(match[1]):
            prompts[name] = known
            if (other := stems.setdefault(stem, name)) != name:
                raise UserError(f"videos={folder}: {other} and {name}: keep one format")
    return prompts
