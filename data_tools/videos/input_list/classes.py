"""Name the classes of rows, and refuse columns with too many classes."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from t2vgan.errors import UserError
from t2vgan.utils.tables import read_stripped_lines
from t2vgan.utils.untrusted import open_file

from .rows import Row
from .source_folder import SourceFolder

CLASSES = "classes.txt"
LOWER_TO_UPPER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
MAX_CLASSES = 25_000  # more than any taxonomy in use; a column of clip numbers has more


def read_class_names(folder: SourceFolder, path: str | None) -> list[str]:
    """Return the class names from a file with one per line.

    Without a path, the file is the source's classes.txt, if it exists.

    Raises:
        UserError: the file is not text, or names a class twice.
    """
    if path is None:
        if not folder.is_file(CLASSES):
            return []
        with folder.open_list(CLASSES) as file:
            lines = read_stripped_lines(file, CLASSES)
    else:
        with open_file(path) as file:
            lines = read_stripped_lines(file, f"--classes {path}")
    while lines and not lines[-1]:
        lines.pop()
    for number, name in enumerate(lines, start=1):
        if not name or name in lines[: number - 1]:
            what = f"repeats {name!r}" if name else "is empty"
            raise UserError(
                f"{path or CLASSES}: line {number} {what}; each line must name another class"
            )
    return lines


def with_class_of_folder(row: Row, splits: Collection[str]) -> Row:
    """Return the row with its folder's name as its class.

    Paths are `class/video` or `split/class/video`, as in UCF101, Kinetics and torchvision's
    ImageFolder. A folder that is named as one of `splits` assigns the split.
    """
    *folders, _ = PurePosixPath(row.path).parts
    split = next((name for name in folders if name.lower() in splits), "")
    names = [name for name in folders if name != split]
    if not names:
        return row if row.captions else replace(row, problem="no caption: it is in no class folder")
    problem = "" if row.problem_kind == "prompt" else row.problem
    label = names[-1].encode("utf-8", "replace").decode()
    return replace(row, label=label, split=split, problem=problem)


def spell_out(name: str) -> str:
    """Return a folder's name as words: "ApplyEyeMakeup" and "apply_eye_makeup" have three."""
    return " ".join(LOWER_TO_UPPER.sub(" ", name).replace("_", " ").split())


def name_classes(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Replace class numbers by class names.

    A row whose class is not listed fails.

    Raises:
        UserError: there are more classes than MAX_CLASSES.
    """
    labels = {row.label for row in rows if row.label}
    if len(labels) > MAX_CLASSES:
        some = ", ".join(repr(label) for label in sorted(labels)[:3])
        raise UserError(
            f"{len(labels):,} different classes ({some}, ...) are more than the limit of"
            f" {MAX_CLASSES:,}; choose a column of classes with --label-column"
        )
    if not names:
        return list(rows)
    known = set(names)
    return [_name_class(row, names, known) if row.label else row for row in rows]


def _name_class(row: Row, names: Sequence[str], known: set[str]) -> Row:
    if row.label in known:
        return row
    if row.label.isascii() and row.label.isdigit() and int(row.label) < len(names):
        return replace(row, label=names[int(row.label)])
    problem = f"class {row.label!r} is none of the {len(names)} that are listed"
    return replace(row, problem=row.problem or problem)
