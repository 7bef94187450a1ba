"""Pair the videos of a tar with their captions.

A caption belongs to the video with the same name up to the extension, or up to the first dot (the
webdataset key), among consecutive members with one key. In a tar whose members are not in order,
the whole tar is searched, provided that only one member has that name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, BinaryIO

from t2vgan.data.captions import read_label
from t2vgan.utils.untrusted import (
    MAX_CAPTION_BYTES,
    MAX_JSON_LINE_BYTES,
    JsonError,
    format_json_type,
    parse_json,
)

from .file_kinds import extension_of
from .rows import Row
from .tables import LIST_COLUMN, format_label, with_captions

CAPTION_EXTENSIONS = ("txt", "json", "cls")
NO_CAPTION = Row("", problem="no caption: neither .txt nor `caption` in .json")


@dataclass(slots=True)
class Member:
    """A member of a tar, with what pairing needs."""

    name: str
    offset: int = 0
    size: int | None = None
    problem: str = ""
    is_video: bool = False
    caption: Row = NO_CAPTION
    """Captions and class in a .txt, .json or .cls, or the problem with them."""

    @property
    def key(self) -> str:
        """The name up to the file name's first dot, as in webdataset."""
        folder, slash, filename = self.name.rpartition("/")
        return folder + slash + filename.partition(".")[0]

    @property
    def stem(self) -> str:
        """The name without its extension."""
        folder, slash, filename = self.name.rpartition("/")
        return folder + slash + (filename.rpartition(".")[0] or filename)

    @property
    def label(self) -> str:
        """The name, with its extension in lower case."""
        return f"{self.stem}.{extension_of(self.name)}"


def read_caption(file: BinaryIO, member: Member) -> Row:
    """Return a row with a member's captions, or the problem with them."""
    size = member.size or 0
    if extension_of(member.name) == "txt":
        return Row("").with_caption(file.read(min(size, MAX_CAPTION_BYTES)))
    if extension_of(member.name) == "cls":
        text = file.read(min(size, MAX_CAPTION_BYTES)).decode("utf-8", "replace")
        return replace(NO_CAPTION, label=format_label(text))
    if size > MAX_JSON_LINE_BYTES:
        found = f"{member.name} has {size} bytes, limit {MAX_JSON_LINE_BYTES}"
        return Row("", problem=f"no caption: {found}")
    try:
        record: Any = parse_json(file.read(size))
    except JsonError as error:
        return Row("", problem=f"no caption: {member.name}: {error}")
    if not isinstance(record, dict):
        found = f"{format_json_type(record)}, must be an object"
        return Row("", problem=f"no caption: {member.name} is {found}")
    return _read_record(record, member.name)


def _read_record(record: dict[str, Any], name: str) -> Row:
    """Return a row with the captions and the class in a .json."""
    try:
        row = replace(NO_CAPTION, label=format_label(read_label(record) or ""))
    except ValueError as error:  # harmless beside a caption, as it may be anything
        row = Row("", problem=f"no caption: {name}: {error}")
    if (captions := record.get(LIST_COLUMN)) is not None:
        return with_captions(replace(row, problem=""), captions, f"`{LIST_COLUMN}` in {name}")
    caption = record.get("caption")
    if isinstance(caption, str):
        return replace(row, prompt=caption[:MAX_CAPTION_BYTES], problem="")
    if caption is None:
        return row
    found = f"{format_json_type(caption)}, must be a string"
    return replace(row, problem=f"no caption: `caption` in {name} is {found}")


def pair_members(members: Iterable[Member]) -> Iterator[tuple[Member, Row | str]]:
    """Yield videos with their captions as a row, others with a reason.

    For a sample without a video, its first member is yielded.
    """
    samples = [list(group) for _, group in groupby(members, key=lambda member: member.key)]
    without = [sample for sample in samples if not any(member.is_video for member in sample)]
    strays = _by_label(member for sample in without for member in sample)
    pairs = [pair for sample in samples for pair in _pair_sample(sample)]
    found = [
        (video, caption, None if caption else _find_caption((video.stem, video.key), strays))
        for video, caption in pairs
    ]
    labels = {m.key: m.caption.label for sample in samples for m in sample if m.caption.label}
    wanted = Counter(stray.label for _, _, stray in found if stray)
    for video, caption, stray in found:
        if isinstance(caption, str):
            yield video, caption
            continue
        if stray:
            count = max(wanted[stray.label], len(strays[stray.label]))
            caption = stray if count == 1 else _ambiguous(stray, count)
        row = _caption_row(video, caption)
        yield video, replace(row, label=row.label or labels.get(video.key, ""))
    used = {id(stray) for _, _, stray in found if stray}
    for sample in without:
        if not {id(member) for member in sample} <= used:
            problem = next((member.problem for member in sample if member.problem), "")
            yield sample[0], problem or "a sample without a video"


def _pair_sample(sample: list[Member]) -> Iterator[tuple[Member, Member | str | None]]:
    """Yield a sample's videos, each with its caption or a reason."""
    captions = _by_label(sample)
    videos = [member for member in sample if member.is_video]
    has_main = any(video.stem == video.key for video in videos)
    seen = set()
    for video in videos:
        own = _find_caption((video.stem,), captions)
        if video.stem in seen or (has_main and video.stem != video.key and own is None):
            yield video, "another video of its sample"
        else:
            yield video, own or _find_caption((video.key,), captions)
        seen.add(video.stem)


def _by_label(members: Iterable[Member]) -> dict[str, list[Member]]:
    found = defaultdict(list)
    for member in members:
        found[member.label].append(member)
    return found


def _find_caption(stems: tuple[str, ...], members: dict[str, list[Member]]) -> Member | None:
    """Return the caption member for a name, preferring one without a problem."""
    first = None
    for stem in dict.fromkeys(stems):
        for extension in CAPTION_EXTENSIONS:
            found = members.get(f"{stem}.{extension}", [])
            if len(found) > 1:
                return _ambiguous(found[0], len(found))
            if found and not found[0].problem and not found[0].caption.problem:
                return found[0]
            first = first or (found[0] if found else None)
    return first


def _ambiguous(caption: Member, count: int) -> Member:
    problem = f"no caption: {count} members of the tar may be it, such as {caption.name}"
    return replace(caption, caption=Row("", problem=problem))


def _caption_row(video: Member, caption: Member | None) -> Row:
    """Return a row with a video's captions or problem."""
    if video.problem:
        return Row("", problem=f"{video.name} {video.problem}")
    if caption is None:
        return NO_CAPTION
    if caption.problem:
        return Row("", problem=f"no caption: {caption.name} {caption.problem}")
    return caption.caption
