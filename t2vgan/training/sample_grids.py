"""Save film strips of generated and real clips during training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2vgan.data.dataset import ShardedDataset
from t2vgan.data.manifest import Manifest
from t2vgan.data.shards import EncodedSample, decode_sample, parse_captions
from t2vgan.errors import UserError
from t2vgan.media import contact_sheet, film_strips, load_picture, save_clip, split_film_strips
from t2vgan.tracking.metrics_log import METRICS_NAME, read_records
from t2vgan.utils.sequences import choose_evenly

SHEET_PAIRS = 3  # pairs of a real and a generated clip in a row
MAX_PROMPTS, MAX_HELD_OUT_PROMPTS = 40, 10  # real videos may have one caption per clip
MAX_VARIED_PROMPTS, MAX_VARIED_HELD_OUT_PROMPTS = 8, 4
NUM_SEEDS = 5  # clips of each varied prompt
NO_CLIP = 224  # grey level shown for a missing real clip
MAX_BYTES_SEARCHED = 2**28  # for real clips of the prompts: takes seconds even on a slow disk


def prompts_of(manifest: Manifest) -> list[str]:
    """Return some prompts of the data, the held-out ones last."""
    return [
        *choose_evenly(list(manifest.prompts), MAX_PROMPTS),
        *choose_evenly(manifest.held_out_prompts, MAX_HELD_OUT_PROMPTS),
    ]


def varied_prompts_of(manifest: Manifest) -> list[str]:
    """Return the prompts drawn with several seeds, each repeated."""
    shown = prompts_of(manifest)
    held_out = [prompt for prompt in shown if prompt in manifest.held_out_prompts]
    trained = shown[: len(shown) - len(held_out)]
    varied = [
        *choose_evenly(trained, MAX_VARIED_PROMPTS),
        *choose_evenly(held_out, MAX_VARIED_HELD_OUT_PROMPTS),
    ]
    return [prompt for prompt in varied for _ in range(NUM_SEEDS)]


def save_samples(run_dir: Path, step: int, clips: np.ndarray, manifest: Manifest) -> dict[str, Any]:
    """Save one clip of each prompt as film strips and a GIF.

    The GIF shows each clip next to a real one of its prompt, if `save_real_clips` found one.
    Returns the record for the log. `clips` is (N, T, H, W, 3) uint8 in the order of `prompts_of`.
    """
    prompts, held_out = prompts_of(manifest), manifest.held_out_prompts
    animation = run_dir / "samples" / f"step_{step:08d}.gif"
    real, nothing = load_real_clips(run_dir), np.full_like(clips[0], NO_CLIP)
    cells: list[tuple[np.ndarray, str]] = []
    for prompt, clip in zip(prompts, clips, strict=True):
        cells.append((real[prompt], "real") if prompt in real else (nothing, "no real clip"))
        cells.append(
            (clip, f"{prompt} (held out)" if prompt in held_out else prompt or "no prompt")
        )
    shown, labels = zip(*cells, strict=True)
    sheet = contact_sheet(np.stack(shown), labels, columns=2 * SHEET_PAIRS)
    save_clip(animation, sheet, fps=manifest.fps)
    return {
        **save_strips(run_dir, f"step_{step:08d}", clips, prompts, manifest),
        "animation": animation.relative_to(run_dir).as_posix(),
    }


def save_strips(
    run_dir: Path, name: str, clips: np.ndarray, prompts: Sequence[str], manifest: Manifest
) -> dict[str, Any]:
    """Save clips (N, T, H, W, 3) as samples/NAME.png, one row each.

    Returns the record for the log."""
    strips = run_dir / "samples" / f"{name}.png"
    save_clip(strips, film_strips(clips)[None])
    return {
        "file": strips.relative_to(run_dir).as_posix(),
        "prompts": list(prompts),
        "held_out_prompts": [p for p in dict.fromkeys(prompts) if p in manifest.held_out_prompts],
        "fps": manifest.fps,
        **manifest.geometry.model_dump(),
    }


def save_real_clips(
    run_dir: Path, datasets: Sequence[ShardedDataset], manifest: Manifest
) -> dict[str, Any]:
    """Save a real clip of each shown prompt; return the record.

    At most about 256 MB of the data are searched; the record is empty if no clip is found. Damaged
    samples are skipped: the loader of training counts and reports them.
    """
    wanted, found = prompts_of(manifest), dict[str, np.ndarray]()
    for sample in _some_samples(datasets):
        try:
            captions = parse_captions(sample.members)
            prompt = next((c for c in captions if c in wanted and c not in found), None)
            if prompt is not None:
                found[prompt], _ = decode_sample(sample, manifest.geometry)
        except ValueError:
            continue
        if len(found) == len(manifest.prompts.keys() & set(wanted)):
            break
    if not found:
        return {}
    prompts = [prompt for prompt in wanted if prompt in found]
    clips = np.stack([found[prompt] for prompt in prompts])
    return save_strips(run_dir, "real", clips, prompts, manifest)


def load_real_clips(run_dir: Path) -> dict[str, np.ndarray]:
    """Return the clips that `save_real_clips` saved, by prompt."""
    path = run_dir / METRICS_NAME
    records = read_records(path) if path.exists() else iter(())
    record = next((record for record in records if record["kind"] == "data"), {})
    try:
        sizes = {name: record[name] for name in ("num_frames", "height", "width")}
        clips = split_film_strips(load_picture(run_dir / record["file"]), **sizes)
        return dict(zip(record["prompts"], clips, strict=True))
    except (KeyError, UserError, ValueError):  # none was saved, or the picture was replaced
        return {}


def _some_samples(datasets: Sequence[ShardedDataset]) -> Iterator[EncodedSample]:
    num_bytes = 0
    for dataset in datasets:
        for _, sample in dataset.iter_samples(skip_damaged=True):
            yield sample
            num_bytes += sum(map(len, sample.members.values()))
            if num_bytes > MAX_BYTES_SEARCHED:
                return
