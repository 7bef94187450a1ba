"""Which tracker reads the clips of a data set: the prompts say what there is to see."""

from collections.abc import Callable, Iterable

import numpy as np

from t2vgan.digits import check_installed
from t2vgan.evaluation.colour_tracking import track_colours
from t2vgan.evaluation.digit_tracking import track_digits
from t2vgan.evaluation.prompts import expected_objects
from t2vgan.evaluation.tracking import Track, track


def tracker_of(prompts: Iterable[str]) -> Callable[[np.ndarray], Track]:
    """Return the tracker for clips of these prompts: frames (N, T, H, W, 3) uint8 -> Track.

    Raises UserError where prompts name digits and the pictures to read them by are not installed.
    """
    expected = [expected_objects(prompt) or () for prompt in prompts]
    if any("digit" in asked for objects in expected for asked in objects):
        check_installed()
        return track_digits
    if any(len(objects) > 1 for objects in expected):
        return track_colours
    return track
