"""Select the tracker for clips by their prompts."""

from collections.abc import Callable, Iterable

import numpy as np

from t2vgan.evaluation.prompt_accuracy.object_paths import Track, track
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.evaluation.prompt_accuracy.two_object_paths import track_colours


def select_tracker(prompts: Iterable[str]) -> Callable[[np.ndarray], Track]:
    """Return the tracker for clips of these prompts.

    The tracker maps frames (N, T, H, W, 3) uint8 to a Track.
    """
    if any(len(expected_objects(prompt) or ()) > 1 for prompt in prompts):
        return track_colours
    return track
