"""Select the tracker for clips by their prompts."""

from collections.abc import Callable, Iterable

import numpy as np

from t2vgan.data.digit_glyphs import check_installed
from t2vgan.evaluation.prompt_accuracy.digit_paths import track_digits
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, track
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.evaluation.prompt_accuracy.two_object_paths import track_colours


def select_tracker(prompts: Iterable[str]) -> Callable[[np.ndarray], Track]:
    """Return the tracker for clips of these prompts.

    It maps frames (N, T, H, W, 3) uint8 to a Track.

    Raises:
        UserError: prompts name digits, and the pictures to read them by are not installed.
    """
    expected = [expected_objects(prompt) or () for prompt in prompts]
    if any("digit" in asked for objects in expected for asked in objects):
        check_installed()
        return track_digits
    if any(len(objects) > 1 for objects in expected):
        return track_colours
    return track
