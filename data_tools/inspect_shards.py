"""Show what a folder of shards holds: `python -m data_tools.inspect_shards DIR_OR_URL`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import escape_control_chars, print_stdout
from t2vgan.utils.urls import as_location, is_url

if TYPE_CHECKING:
    import numpy as np

    from t2vgan.data.shards import EncodedSample, Manifest

    from .build.destination import Destination

BAR_WIDTH = 40
MAX_PROMPTS = 40
NO_PROMPT = "(no caption)"
RULE = 208  # grey level of the line between two frames


def main() -> None:
    """Run the command."""
    cli.call(inspect_shards)


def inspect_shards(
    folder: Positional[str],
    out: Path | None = None,
    num_clips: int = 18,
    num_page_clips: int = 200,
) -> None:
    """Print a data set's counts and prompts, and write contact sheets.

    The contact sheet is written as PNG and GIF, and as an HTML page on which clips play and
    prompts can be searched.

    Args:
        folder: The folder with manifest.json and its shards, or its URL (s3://bucket/folder).
        out: Folder for contact_sheet.png, .gif and .html; by default the data set's own. Required
            for a URL.
        num_clips: Clips on the PNG and GIF, spread over the prompts.
        num_page_clips: Clips on the HTML page, spread over the prompts.
    """
    from t2vgan.data.shards import check_shards

    from .build.destination import open_finished

    folder = as_location(folder)
    for name, value in (("--num-clips", num_clips), ("--num-page-clips", num_page_clips)):
        if value < 1:
            raise UserError(f"{name} {value}: must be at least 1")
    if out is None and is_url(folder):
        raise UserError(f"--out: give a local folder for the contact sheets of {folder}")
    out = out or Path(folder)
    with open_finished(folder) as found:
        manifest = found.manifest()
        if not is_url(folder):
            check_shards(folder, manifest)
        lines = format_report(folder, manifest)
        print_stdout("\n".join(map(escape_control_chars, lines)))
        clips = pick_clips(found, manifest, max(num_clips, num_page_clips))
    if not clips:
        raise UserError(f"{folder}: no clip can be decoded; run t2vgan verify")
    written = write_contact_sheet(out, select_clips(clips, num_clips), fps=manifest.fps)
    page_clips = select_clips(clips, num_page_clips)
    for path in [*written, write_page(out, page_clips, lines, manifest.fps)]:
        print_stdout(f"wrote {path}")


def format_report(folder: str, manifest: "Manifest") -> list[str]:
    """Return the report's lines: build, sizes and a histogram of prompts."""
    geometry = manifest.geometry
    num_bytes = sum(entry.num_bytes for entry in manifest.shards)
    shown = list(manifest.prompts.items())
    truncated = len(shown) > MAX_PROMPTS
    if truncated:
        shown = sorted(shown, key=lambda item: -item[1])[:MAX_PROMPTS]
    most = max(manifest.prompts.values())
    column = min(60, max(len(prompt or NO_PROMPT) for prompt, _ in shown))
    return [
        f"{folder}: {manifest.num_samples} clips in {len(manifest.shards)} shards",
        f"  builder      {manifest.builder}, version {manifest.builder_version}",
        f"  arguments    {', '.join(f'{k}={v}' for k, v in manifest.builder_config.items())}",
        f"  clip         {geometry.num_frames} frames of {geometry.height}x{geometry.width} "
        f"at {manifest.fps:g} frames/s",
        f"  size         {num_bytes / 1e6:.1f} MB, "
        f"{num_bytes / manifest.num_samples:.0f} bytes per clip",
        *_account(manifest),
        f"  held out     {', '.join(manifest.held_out_prompts) or 'nothing'}",
        f"  fingerprint  {manifest.fingerprint}",
        "",
        f"{len(manifest.prompts)} prompts{', the most frequent' if truncated else ''}:",
        *(
            f"  {name:{column}.{column}}  {count:7d}  {'#' * round(BAR_WIDTH * count / most)}"
            for name, count in ((prompt or NO_PROMPT, count) for prompt, count in shown)
        ),
    ]


def _account(manifest: "Manifest") -> list[str]:
    if manifest.rejected is not None:
        from .build.runner import format_rejected

        return [f"  recorded     {format_rejected(manifest)}"]
    if manifest.input is None:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.input.failures.items())
    return [f"  input        {manifest.input.num_rows} rows; left out: {reasons or 'nothing'}"]


def pick_clips(
    found: "Destination", manifest: "Manifest", num_clips: int
) -> "list[tuple[str, np.ndarray]]":
    """Return (prompt, frames (T, H, W, 3)) of clips spread over prompts.

    Reading stops once there are enough clips.
    """
    from t2vgan.data.shards import decode_with_captions

    wanted = share_out(manifest.prompts, num_clips)
    picked: list[tuple[str, np.ndarray]] = []
    for sample in _samples(found, manifest):
        try:
            frames, captions = decode_with_captions(sample, manifest.geometry)
        except ValueError:  # verify_shards reports it
            continue
        prompt = next((caption for caption in captions if wanted.get(caption)), None)
        if prompt is not None:
            wanted[prompt] -= 1
            picked.append((prompt, frames))
        if not any(wanted.values()):
            break
    order = {prompt: place for place, prompt in enumerate(manifest.prompts)}
    return sorted(picked, key=lambda clip: order[clip[0]])


def select_clips(
    clips: "list[tuple[str, np.ndarray]]", num_clips: int
) -> "list[tuple[str, np.ndarray]]":
    """Return some of the clips, spread over the prompts."""
    wanted = share_out(Counter(prompt for prompt, _ in clips), num_clips)
    selected = []
    for prompt, frames in clips:
        if wanted.get(prompt):
            wanted[prompt] -= 1
            selected.append((prompt, frames))
    return selected


def share_out(num_held: Mapping[str, int], num_clips: int) -> dict[str, int]:
    """Return how many clips of each prompt to show.

    Shares are as equal as `num_held`, the available clips per prompt, allows. If there are more
    prompts than clips to show, evenly spaced prompts have one clip each.
    """
    prompts = [prompt for prompt, count in num_held.items() if count]
    if len(prompts) > num_clips:
        return {prompts[i * len(prompts) // num_clips]: 1 for i in range(num_clips)}
    shares, left = dict.fromkeys(prompts, 0), num_clips
    while left and (short := [p for p in prompts if shares[p] < num_held[p]]):
        for prompt in short[:left]:
            shares[prompt] += 1
        left -= len(short[:left])
    return shares


def _samples(found: "Destination", manifest: "Manifest") -> "Iterator[EncodedSample]":
    from t2vgan.data.shards import read_samples

    for entry in manifest.shards:
        with found.copy_of(entry) as path:
            yield from read_samples(path, name=f"{found}/{entry.name}")


def write_contact_sheet(
    folder: Path, clips: "list[tuple[str, np.ndarray]]", *, fps: float
) -> list[Path]:
    """Write the clips as labelled film strips and as a GIF."""
    import numpy as np

    from t2vgan.media import contact_sheet, film_strips, format_rate_note, save_clip

    prompts = [prompt for prompt, _ in clips]
    frames = np.stack([frames for _, frames in clips])
    ruled = np.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 1), (0, 0)), constant_values=RULE)
    strips = np.stack([film_strips(clip[np.newaxis])[np.newaxis] for clip in ruled])
    still, moving = folder / "contact_sheet.png", folder / "contact_sheet.gif"
    save_clip(still, contact_sheet(strips, prompts, columns=2), fps=fps)
    if note := format_rate_note("gif", fps):
        print_stdout(note)
    save_clip(moving, contact_sheet(frames, prompts, columns=6, scale=2), fps=fps)
    return [still, moving]


def write_page(
    folder: Path, clips: "list[tuple[str, np.ndarray]]", summary: list[str], fps: float
) -> Path:
    """Write the clips as an HTML page."""
    from t2vgan.utils.files import atomic_write_bytes

    from .build.clip_page import clip_page

    page = clip_page(f"Clips of {folder.name or 'the data set'}", clips, summary, fps=fps)
    path = folder / "contact_sheet.html"
    atomic_write_bytes(path, page.encode())
    return path


if __name__ == "__main__":
    cli.run(main)
