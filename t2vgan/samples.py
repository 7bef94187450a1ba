"""What a run draws while it trains: each prompt once (of many, some), from fixed latents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2vgan.manifest import Manifest
from t2vgan.media import contact_sheet, film_strips, save_clip

SHEET_COLUMNS = 5
MAX_PROMPTS, MAX_HELD_OUT_PROMPTS = 40, 10  # captions of real videos are as many as the clips


def prompts_of(manifest: Manifest) -> list[str]:
    """Return the prompts of the data, of many an even choice, the held-out ones last."""
    return [
        *_some_of(list(manifest.prompts), MAX_PROMPTS),
        *_some_of(manifest.held_out_prompts, MAX_HELD_OUT_PROMPTS),
    ]


def _some_of(prompts: Sequence[str], most: int) -> Sequence[str]:
    return prompts[:: max(1, -(-len(prompts) // most))]


def save_samples(run_dir: Path, step: int, clips: np.ndarray, manifest: Manifest) -> dict[str, Any]:
    """Save one clip of each prompt: film strips for programs, a GIF for people.

    Returns the record for the log; `clips` is (N, T, H, W, 3) uint8 in the order of `prompts_of`.
    """
    prompts, held_out = prompts_of(manifest), manifest.held_out_prompts
    strips = run_dir / "samples" / f"step_{step:08d}.png"
    animation = strips.with_suffix(".gif")
    labels = [f"{prompt} (held out)" if prompt in held_out else prompt for prompt in prompts]
    save_clip(strips, film_strips(clips)[None])
    save_clip(animation, contact_sheet(clips, labels, columns=SHEET_COLUMNS), fps=manifest.fps)
    return {
        "file": strips.relative_to(run_dir).as_posix(),
        "animation": animation.relative_to(run_dir).as_posix(),
        "prompts": prompts,
        "held_out_prompts": held_out,
        "fps": manifest.fps,
        **manifest.geometry.model_dump(),
    }
