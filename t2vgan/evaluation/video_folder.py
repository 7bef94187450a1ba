"""Read videos from any system as clips of the data's geometry.

A video that cannot be scored becomes an empty clip, in which no object is found: it counts as
wrong, and is excluded from distances.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from t2vgan.data.shards import Geometry, Manifest
from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.near_copies import even_frame_indices
from t2vgan.evaluation.prompt_accuracy.prompts import (
    CanonicalForm,
    canonical_form,
    expected_objects,
    unknown_prompts,
)
from t2vgan.evaluation.prompt_list import find_prompts
from t2vgan.media import load_clip, load_film_strip, load_frame_folder
from t2vgan.utils.console import escape_control_chars, format_error
from t2vgan.utils.frozen import Frozen


class FolderSummary(Frozen):
    """Counts of a folder's videos, and their problems."""

    num_listed: int
    """Number of scored videos: those with a prompt, without unknown_prompt."""
    num_readable: int
    """Number of these that are readable; the others are scored as empty clips."""
    num_resampled: int
    """Number of readable ones with more frames than the data, which were subsampled evenly."""
    num_resized: int
    """Number of readable ones that were larger, and averaged down."""
    problems: dict[str, list[str]]
    """Kind -> problem of each file: missing, undecodable, too_short, wrong_size (scored as empty),
    extra (has no prompt, not scored), unknown_prompt (unknown to the grammar, not scored)."""
    sha256: str
    """Checksum of the scored prompts and frames, in order."""


@dataclass(frozen=True)
class VideoReport:
    """Report on reading one video."""

    digest: str = ""
    """Checksum of the frames, or the kind of problem."""
    problem: tuple[str, str] | None = None
    """Kind and description of the problem, if any."""
    resampled: bool = False
    resized: bool = False


class UnusableVideoError(Exception):
    """A video cannot be scored; arguments are kind and reason."""


class VideoFolder:
    """A folder's videos and prompts, in order of list or names."""

    left_out: ClassVar[Mapping[str, list[str]]] = {}  # no words are unknown to it
    notes: ClassVar[Sequence[str]] = ()

    def __init__(self, folder: Path | str, manifest: Manifest) -> None:
        self.folder = Path(folder)
        self.geometry: Geometry = manifest.geometry
        known = [*manifest.prompts, *manifest.held_out_prompts]
        prompts, extra = find_prompts(self.folder, known)
        unknown = (
            {}
            if unknown_prompts(known)  # the meter is not used, so prompts may be any
            else {n: p for n, p in prompts.items() if expected_objects(p) is None}
        )
        self.files = [name for name in prompts if name not in unknown]
        self.prompts = [prompts[name] for name in self.files]
        self.held_out = held_out_prompts(self.prompts, manifest)
        self.problems = {
            "extra": [f"{escape_control_chars(name)}: no prompt" for name in extra],
            "unknown_prompt": [
                f"{escape_control_chars(n)}: {escape_control_chars(p)!r}"
                for n, p in unknown.items()
            ],
        }
        if not self.files:
            raise UserError(
                f"videos={folder}: the meter knows none of the {len(unknown)} prompts, such as "
                f"{next(iter(unknown.values()))!r} (docs/evaluation.md)"
            )

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, list[VideoReport]]:
        """Read clips in the data's geometry; unusable ones are empty."""
        size = self.geometry
        shape = (len(indices), size.num_frames, size.height, size.width, 3)
        frames, reports = np.zeros(shape, np.uint8), []
        for clip, index in zip(frames, indices, strict=True):
            name = self.files[index]
            try:
                loaded = load_video(self.folder / name, size)
                clip[...], resampled, resized = fit_geometry(loaded, size)
                digest = hashlib.sha256(clip.tobytes()).hexdigest()
                reports.append(VideoReport(digest, None, resampled, resized))
            except UnusableVideoError as problem:
                kind, reason = problem.args
                reports.append(VideoReport(kind, (kind, f"{escape_control_chars(name)}: {reason}")))
        return frames, reports

    def summarise(self, reports: Sequence[VideoReport]) -> FolderSummary:
        """Summarise the reports of all videos; UserError if none could be read."""
        problems = {kind: list(texts) for kind, texts in self.problems.items()}
        for report in reports:
            if report.problem is not None:
                problems.setdefault(report.problem[0], []).append(report.problem[1])
        num_readable = sum(report.problem is None for report in reports)
        if not num_readable:
            first = next(report.problem for report in reports if report.problem is not None)
            raise UserError(f"videos={self.folder}: no video can be scored, such as {first[1]}")
        content = "\n".join(
            f"{prompt}\0{report.digest}"
            for prompt, report in zip(self.prompts, reports, strict=True)
        )
        return FolderSummary(
            num_listed=len(reports),
            num_readable=num_readable,
            num_resampled=sum(report.resampled for report in reports),
            num_resized=sum(report.resized for report in reports),
            problems={kind: texts for kind, texts in problems.items() if texts},
            sha256=hashlib.sha256(content.encode()).hexdigest(),
        )


def held_out_prompts(prompts: Sequence[str], manifest: Manifest) -> list[str]:
    """List the prompts that differ in meaning from all training prompts."""
    trained = {_canonical(prompt) for prompt in manifest.prompts}
    return [
        prompt
        for prompt in dict.fromkeys(prompts)
        if prompt in manifest.held_out_prompts
        or (prompt not in manifest.prompts and _canonical(prompt) not in trained)
    ]


def _canonical(prompt: str) -> CanonicalForm | str:
    expected = expected_objects(prompt)
    return prompt if expected is None else canonical_form(expected)


def load_video(path: Path, geometry: Geometry) -> np.ndarray:
    """Load a video's frames (T, H, W, 3).

    Raises:
        UnusableVideoError: the video is missing or damaged.
    """
    if not path.exists():
        raise UnusableVideoError("missing", "no such file")
    try:
        if path.is_dir():
            return load_frame_folder(path)
        if path.suffix.lower() == ".png":
            return load_film_strip(path, num_frames=geometry.num_frames)
        return load_clip(path)
    except (UserError, OSError) as error:
        reason = format_error(error).removeprefix(f"{path}: ")
        raise UnusableVideoError("undecodable", escape_control_chars(reason)) from None


def fit_geometry(frames: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, bool, bool]:
    """Fit frames (T, H, W, 3) to the data's geometry.

    Returns them, and whether they were resampled in time and resized. If there are more frames,
    evenly spaced ones are selected, from the first to the last. Larger frames of the same aspect
    ratio are averaged by area. The row or column that films add to an odd side is cut off.

    Raises:
        UnusableVideoError: there are fewer frames, or frames are smaller or of another aspect
            ratio.
    """
    found, height, width = frames.shape[:3]
    if found < geometry.num_frames:
        raise UnusableVideoError(
            "too_short", f"{found} frames, but the data has {geometry.num_frames}"
        )
    resampled = found > geometry.num_frames
    if resampled:
        frames = frames[even_frame_indices(found, geometry.num_frames)]
    wanted = (geometry.height, geometry.width)
    if (height, width) in (wanted, tuple(side + side % 2 for side in wanted)):
        return frames[:, : wanted[0], : wanted[1]], resampled, False
    if height * wanted[1] != width * wanted[0] or height < wanted[0]:
        raise UnusableVideoError(
            "wrong_size",
            f"{width}x{height} pixels, but the data has {wanted[1]}x{wanted[0]}; only larger videos"
            " of these proportions are resized",
        )
    import cv2

    size = wanted[::-1]
    shrunk = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in frames]
    return np.stack(shrunk), resampled, True
