"""Read the input list from a folder, table, text files or tars."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from t2vgan.data.manifest import MANIFEST_NAME, parse_manifest
from t2vgan.errors import UserError
from t2vgan.utils.tables import read_table
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES, MAX_JSON_BYTES

from ...build.journal import JOURNAL_PREFIX
from ..accounting import format_passed_over
from ..held_out import SPLITS
from ..settings import VideoError
from .archives import COMPRESSED_SUFFIXES, is_tar, read_archives
from .classes import name_classes, read_class_names, spell_out, with_class_of_folder
from .file_kinds import HEAD_BYTES, extension_of, has_video_extension, is_video, may_be_video
from .parquet import read_parquet
from .rows import PassedOver, Row, Source
from .source_folder import SourceFolder
from .tables import Columns, table_rows, text_rows

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
TABLES = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet", "videos.txt")
PROMPTS = "prompts.txt"
VIDEO_FILES = "folder"
"""Kind of a source that is a folder of video files, without a table."""
LAYOUTS = (
    "a folder of a.mp4 + a.txt; one of class folders (--class-folders); one with metadata.csv, "
    ".tsv, .jsonl or .parquet; one with videos.txt + prompts.txt; one of webdataset tars; or such "
    "a table or tar itself"
)


def read_source(source: str, columns: Columns, *, allow_local: bool = False) -> Source:
    """Read the rows of a source; UserError names the supported layouts."""
    folder = SourceFolder(source, allow_local)
    if folder.is_file(""):
        found = _read_list(folder, folder.split_name(), columns)
    elif folder.is_folder():
        found = _read_folder(folder, columns)
    else:
        raise UserError(f"source {source} does not exist; give {LAYOUTS}")
    if columns.class_folders:
        if found.kind != VIDEO_FILES:
            raise UserError(f"--class-folders: source {source} is {found.kind}, not video files")
        found = replace(found, rows=[with_class_of_folder(row, SPLITS) for row in found.rows])
    if any(row.label for row in found.rows):
        names = read_class_names(folder, columns.classes)
        rows = name_classes(found.rows, names)
        if columns.class_folders:
            rows = [replace(row, label=spell_out(row.label)) for row in rows]
        found = replace(found, rows=rows)
    if not found.rows:
        others = "".join(f"; {line.strip()}" for line in format_passed_over(found.passed_over))
        raise UserError(f"source {source} has no videos; give {LAYOUTS}{others}")
    return found


def _read_folder(folder: SourceFolder, columns: Columns) -> Source:
    tables = [name for name in TABLES if folder.is_file(name)]
    if tables:
        others = [PassedOver(name, f"{tables[0]} is read instead") for name in tables[1:]]
        return replace(_read_list(folder, tables[0], columns), passed_over=others)
    names, passed_over = _leave_out_outputs(folder, *folder.list_files())
    videos, others = _find_videos(folder, names)
    tars = [name for name in names if is_tar(name)]
    plain = [name for name in tars if not name.lower().endswith(COMPRESSED_SUFFIXES)]
    if plain and videos:
        raise UserError(
            f"source {folder.url} has both tars and videos ({plain[0]}, {videos[0]}); keep one kind"
        )
    if tars and not videos:
        rows, rest = read_archives(folder, tars)
        rest += [entry for entry in others if entry.path not in tars]
        return Source(folder.url, rows, f"{len(tars)} tars", passed_over + rest)
    rows, used = _read_captions(folder, names, videos)
    if videos and not used and columns.needs_prompt and not columns.class_folders:
        raise UserError(
            f"source {folder.url}: no video has a caption ({videos[0]} needs"
            f" {_stem(videos[0])}.txt); use --class-folders if folders are classes, or"
            " --captions none"
        )
    rest = [entry for entry in others if entry.path not in used]
    return Source(folder.url, rows, VIDEO_FILES, passed_over + rest)


def _leave_out_outputs(
    folder: SourceFolder, names: list[str], passed_over: list[PassedOver]
) -> tuple[list[str], list[PassedOver]]:
    """Skip data sets that this program wrote inside the source.

    They are kept if the source holds nothing else. An unfinished one is recognized by its hidden
    journal.
    """
    tars = {str(PurePosixPath(name).parent) for name in names if is_tar(name)} - {"."}
    made = set()
    for name in [*names, *(entry.path for entry in passed_over)]:
        parent, filename = str(PurePosixPath(name).parent), PurePosixPath(name).name
        if parent in tars and (
            filename.startswith(JOURNAL_PREFIX)
            or (filename == MANIFEST_NAME and _is_manifest(folder, name))
        ):
            made.add(parent)
    kept = [name for name in names if str(PurePosixPath(name).parent) not in made]
    if not any(is_tar(name) or has_video_extension(name) for name in kept):
        return names, passed_over
    reason = "part of a data set that t2vgan wrote inside the source"
    outputs = [PassedOver(name, reason) for name in sorted({*names} - {*kept})]
    return kept, passed_over + outputs


def _is_manifest(folder: SourceFolder, name: str) -> bool:
    try:
        parse_manifest(folder.read_head(name, MAX_JSON_BYTES), name)
    except (UserError, VideoError, OSError):
        return False
    return True


def _find_videos(folder: SourceFolder, names: list[str]) -> tuple[list[str], list[PassedOver]]:
    """Return the videos, recognized by name or content, and the other files."""
    videos, others = [], []
    for name in names:
        reason = _describe_other(name)
        try:
            if has_video_extension(name) or (
                may_be_video(name) and is_video(folder.read_head(name, HEAD_BYTES))
            ):
                videos.append(name)
                continue
        except (VideoError, OSError) as error:
            reason = f"cannot be read: {_format(error)}"
        others.append(PassedOver(name, reason))
    return videos, others


def _read_captions(
    folder: SourceFolder, names: list[str], videos: list[str]
) -> tuple[list[Row], set[str]]:
    """Return a row per video, and the caption files that were read.

    The captions of NAME.mp4 are in NAME.txt or NAME.mp4.txt.
    """
    from tqdm import tqdm

    captions = {_stem(name): name for name in reversed(names) if _is_text(name)}
    rows, used = [], set()
    for name in tqdm(videos, desc="reading captions", unit=" files", delay=0.5):
        stems = (_stem(name), name) if has_video_extension(name) else (name, _stem(name))
        caption = next((captions[stem] for stem in stems if stem in captions), None)
        if caption is None:
            rows.append(Row(name, problem=f"no caption: {_stem(name)}.txt is not there"))
            continue
        used.add(caption)
        try:
            rows.append(Row(name).with_caption(folder.read_head(caption, MAX_CAPTION_BYTES)))
        except (VideoError, OSError) as error:
            rows.append(Row(name, problem=f"no caption: {caption}: {_format(error)}"))
    return rows, used


def _describe_other(name: str) -> str:
    """Return why a file that is no video was skipped."""
    if _is_text(name):
        return "a caption without a video"
    if f".{extension_of(name)}" in TABLE_SUFFIXES:
        return "a table, which is read only if it is the source"
    return "not a video"


def _is_text(name: str) -> bool:
    return extension_of(name) == "txt"


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _format(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read_list(folder: SourceFolder, name: str, columns: Columns) -> Source:
    if name.lower().endswith(COMPRESSED_SUFFIXES):
        raise UserError(f"source {name} is compressed; unpack it to a plain .tar")
    if is_tar(name):
        rows, passed_over = read_archives(folder, [name])
        return Source(folder.url, rows, name, passed_over)
    return Source(folder.url, list(_list_rows(folder, name, columns)), name)


def _list_rows(folder: SourceFolder, name: str, columns: Columns) -> Iterable[Row]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        return table_rows(read_parquet(folder, name, columns), name, columns)
    if name == PROMPTS:
        raise UserError(f"{name} holds captions; give its folder, with videos.txt beside it")
    if suffix == ".txt" and not folder.is_file(PROMPTS):
        raise UserError(f"{name} lists videos, but {PROMPTS} is not beside it")
    if suffix not in (*TABLE_SUFFIXES, ".txt"):
        raise UserError(
            f"source {name}: must end in .csv, .tsv, .jsonl, .parquet, .txt or .tar; for videos,"
            " give their folder"
        )
    with folder.open_list(name) as file:
        if suffix != ".txt":
            return list(table_rows(read_table(file, name), name, columns))
        with folder.open_list(PROMPTS) as prompts:
            return text_rows(file, prompts, name)
