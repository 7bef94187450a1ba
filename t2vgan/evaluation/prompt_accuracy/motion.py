"""Classify the motion of a tracked object by rules with stated thresholds.

Every length is relative to the frame's shorter side and every change is over the whole clip, so the
rules apply to any number of frames and any size. y points downwards, as on the screen.
"""

import re
from dataclasses import dataclass

import numpy as np

from t2vgan.evaluation.prompt_accuracy.object_paths import Track, track

MIN_SHARE_SINGLE = 0.6  # share of frames with exactly one object, else the motion is "none"
MIN_TRAVEL = 0.25  # straight and zigzag: net displacement along the axis of motion
MAX_DRIFT = 0.12  # net displacement along an axis that the motion does not use
MAX_DEVIATION = 0.05  # straight and zigzag: RMS distance from uniform motion
MIN_TURN_BACK = 0.04  # a reversal counts once the object has moved back this far
BOUNCE_RANGE, BOUNCE_TURNS = 0.2, (1, 3)  # smallest extent; fewest and most reversals
ZIGZAG_RANGE, ZIGZAG_TURNS = (0.1, 0.4), (2, 6)  # across the axis of motion
MAX_LEAP = 2.5  # bounce and zigzag: largest step between frames, relative to the mean step
MIN_ORBIT_RADIUS, MAX_ORBIT_WOBBLE = 0.12, 0.25  # mean, and relative standard deviation
MAX_ORBIT_OFFSET = 0.15  # distance of the orbit's centre from the frame's centre
MIN_ORBIT_TURNS, MAX_PHASE_ERROR = 0.8, 0.6  # full turns; RMS radians from uniform rotation
MIN_GROWTH = np.log(2)  # shrinking and expanding: the area at least halves or doubles
MIN_GROWTH_STEADINESS = 0.9  # correlation of log area with time

NONE = "none"
IGNORED_WORDS = frozenset({"a", "the", "circle", "diagonally"})
MOTIONS = {
    frozenset(words.split()): motion
    for words, motion in {
        **{f"moving {way}": way for way in ("up", "down", "left", "right")},
        **{f"moving {y} {x}": f"{y}-{x}" for y in ("up", "down") for x in ("left", "right")},
        "rotating clockwise": "rotating clockwise",
        "rotating counter clockwise": "rotating counter-clockwise",
        "moving up and down": "bouncing vertically",
        "moving left and right": "bouncing horizontally",
        "shrinking": "shrinking",
        "expanding": "expanding",
        **{f"{kind} {way}": f"{kind} {way}"
           for kind in ("bouncing", "zigzagging") for way in ("vertically", "horizontally")},
    }.items()
}  # fmt: skip


def expected_motion(prompt: str) -> str | None:
    """Return the motion that a prompt asks for, or None if unknown."""
    words = set(re.findall(r"[^\W_]+", prompt.lower()))
    return MOTIONS.get(frozenset(words - IGNORED_WORDS))


def classify_motion(frames: np.ndarray) -> list[str]:
    """Classify motion in frames (N, T, H, W, 3); "none" if unknown."""
    return classify_tracks(track(frames))


def classify_tracks(track: Track, *, centred: bool = True) -> list[str]:
    """Classify the motion of N tracks; `centred`: orbits must be centred."""
    path = PathStatistics.from_track(track)
    rules = {
        **_size_rules(path),
        **_orbit_rules(path, track, max_offset=MAX_ORBIT_OFFSET if centred else np.inf),
        **_zigzag_rules(path),
        **_straight_rules(path),
        **_bounce_rules(path),
    }
    named = np.select(list(rules.values()), list(rules), default=NONE)
    return np.where(is_tracked(track), named, NONE).tolist()


def is_tracked(track: Track) -> np.ndarray:
    """Return whether each object is single in enough frames, (N,) bool."""
    return track.is_single.mean(axis=1) >= MIN_SHARE_SINGLE


@dataclass(frozen=True, slots=True)
class PathStatistics:
    """Statistics of N paths; (2, ...) arrays hold x, then y."""

    position: np.ndarray  # (2, N, T), gaps bridged by straight lines
    travel: np.ndarray  # (2, N) signed displacement of the best uniform motion
    deviation: np.ndarray  # (2, N) RMS distance from that motion
    extent: np.ndarray  # (2, N) largest minus smallest position
    turns: np.ndarray  # (2, N) number of reversals
    leap: np.ndarray  # (N,) largest step relative to the mean step
    growth: np.ndarray  # (N,) change of log area, without frames in which the object is cut
    growth_steadiness: np.ndarray  # (N,) correlation of log area with time

    @classmethod
    def from_track(cls, track: Track) -> "PathStatistics":
        """Measure N tracks in the frames with a single object."""
        measured = np.stack([track.x, track.y]) / track.unit
        position = bridge_gaps(measured, track.is_single)
        travel, deviation, _ = fit_line(measured, track.is_single)
        steps = np.hypot(*np.diff(position, axis=-1))
        mean_step = steps.sum(axis=-1) / max(steps.shape[-1], 1)
        growth, _, steadiness = fit_line(np.log(track.area), track.is_single & ~track.cut)
        return cls(
            position=position,
            travel=travel,
            deviation=deviation,
            extent=np.ptp(position, axis=-1),
            turns=count_turns(position, MIN_TURN_BACK),
            leap=steps.max(axis=-1, initial=0) / np.maximum(mean_step, 1e-9),
            growth=growth,
            growth_steadiness=steadiness,
        )


def _size_rules(path: PathStatistics) -> dict[str, np.ndarray]:
    in_place = (path.extent <= MAX_DRIFT).all(axis=0)
    steady = in_place & (np.abs(path.growth_steadiness) >= MIN_GROWTH_STEADINESS)
    return {
        "shrinking": steady & (path.growth <= -MIN_GROWTH),
        "expanding": steady & (path.growth >= MIN_GROWTH),
    }


def _orbit_rules(path: PathStatistics, track: Track, max_offset: float) -> dict[str, np.ndarray]:
    middle = np.array([track.width - 1, track.height - 1])[:, None] / (2 * track.unit)
    centre = (path.position.max(axis=-1) + path.position.min(axis=-1)) / 2
    dx, dy = path.position - centre[..., None]
    radius = np.hypot(dx, dy)
    phase = np.unwrap(np.arctan2(dy, dx), axis=-1)  # clockwise, because y points downwards
    angle, error, _ = fit_line(phase, track.is_single)
    round_ = (
        (radius.mean(axis=-1) >= MIN_ORBIT_RADIUS)
        & (radius.std(axis=-1) <= MAX_ORBIT_WOBBLE * radius.mean(axis=-1))
        & (np.hypot(*(centre - middle)) <= max_offset)
        & (error <= MAX_PHASE_ERROR)
        & _keeps_size(path)
    )
    turns = angle / (2 * np.pi)
    return {
        "rotating clockwise": round_ & (turns >= MIN_ORBIT_TURNS),
        "rotating counter-clockwise": round_ & (turns <= -MIN_ORBIT_TURNS),
    }


def _zigzag_rules(path: PathStatistics) -> dict[str, np.ndarray]:
    def advances(along: int, across: int) -> np.ndarray:
        return (
            (np.abs(path.travel[along]) >= MIN_TRAVEL)
            & (path.deviation[along] <= MAX_DEVIATION)
            & _between(path.extent[across], ZIGZAG_RANGE)
            & _between(path.turns[across], ZIGZAG_TURNS)
            & (np.abs(path.travel[across]) <= MAX_DRIFT)
            & (path.leap <= MAX_LEAP)
            & _keeps_size(path)
        )

    return {
        "zigzagging vertically": advances(along=1, across=0),
        "zigzagging horizontally": advances(along=0, across=1),
    }


def _straight_rules(path: PathStatistics) -> dict[str, np.ndarray]:
    uniform = (np.hypot(*path.deviation) <= MAX_DEVIATION) & _keeps_size(path)
    signs = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    signs |= {
        f"{y}-{x}": (signs[x][0], signs[y][1]) for y in ("up", "down") for x in ("left", "right")
    }

    def travels(travel: np.ndarray, sign: int) -> np.ndarray:
        return travel * sign >= MIN_TRAVEL if sign else np.abs(travel) <= MAX_DRIFT

    return {
        way: uniform & travels(path.travel[0], sign_x) & travels(path.travel[1], sign_y)
        for way, (sign_x, sign_y) in signs.items()
    }


def _bounce_rules(path: PathStatistics) -> dict[str, np.ndarray]:
    def returns(along: int, across: int) -> np.ndarray:
        return (
            (path.extent[along] >= BOUNCE_RANGE)
            & (path.extent[across] <= MAX_DRIFT)
            & (path.deviation[along] > MAX_DEVIATION)
            & _between(path.turns[along], BOUNCE_TURNS)
            & (path.leap <= MAX_LEAP)
            & _keeps_size(path)
        )

    return {
        "bouncing vertically": returns(along=1, across=0),
        "bouncing horizontally": returns(along=0, across=1),
    }


def _between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values <= limits[1])


def _keeps_size(path: PathStatistics) -> np.ndarray:
    return np.abs(path.growth) < MIN_GROWTH


def fit_line(values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a least-squares line in time to the valid frames of values.

    Values are (..., T). Returns the line's change over the whole clip, the RMS distance of the
    values from it and their correlation with time, each (...,); all are zero if fewer than two
    frames are valid.
    """
    count = np.maximum(valid.sum(axis=-1), 1)

    def centred(v: np.ndarray) -> np.ndarray:
        mean = np.where(valid, v, 0).sum(axis=-1) / count
        return np.where(valid, v - mean[..., None], 0)

    time, values = centred(np.linspace(0, 1, values.shape[-1])), centred(values)
    covariance = (time * values).sum(axis=-1)
    time_square, square = np.square(time).sum(axis=-1), np.square(values).sum(axis=-1)
    change = covariance / np.maximum(time_square, 1e-12)
    residual = np.maximum(square - change * covariance, 0) / count
    correlation = covariance / np.sqrt(np.maximum(time_square * square, 1e-24))
    return change, np.sqrt(residual), correlation


def bridge_gaps(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace invalid entries of (..., T) by linear interpolation.

    Ends get the nearest valid value; if no entry is valid, all become 0.
    """
    last = values.shape[-1] - 1
    index = np.arange(last + 1)
    before = np.maximum.accumulate(np.where(valid, index, -1), axis=-1)
    after = np.minimum.accumulate(np.where(valid, index, last + 1)[..., ::-1], axis=-1)[..., ::-1]
    before, after = np.where(before < 0, after, before), np.where(after > last, before, after)
    before, after = (np.broadcast_to(i.clip(0, last), values.shape) for i in (before, after))
    values = np.where(valid, values, 0)
    start, end = (np.take_along_axis(values, i, axis=-1) for i in (before, after))
    return start + (end - start) * (index - before) / np.maximum(after - before, 1)


def count_turns(position: np.ndarray, threshold: float) -> np.ndarray:
    """Count the reversals in positions (..., T) of more than `threshold`.

    Smaller movements to and fro are ignored.
    """
    highest = lowest = position[..., 0]
    direction = turns = np.zeros(position.shape[:-1], np.int64)
    for here in np.moveaxis(position, -1, 0)[1:]:
        highest, lowest = np.maximum(highest, here), np.minimum(lowest, here)
        falls = (direction >= 0) & (here < highest - threshold)
        rises = (direction <= 0) & (here > lowest + threshold)
        turns = turns + ((falls | rises) & (direction != 0))
        direction = np.where(falls, -1, np.where(rises, 1, direction))
        highest, lowest = np.where(rises, here, highest), np.where(falls, here, lowest)
    return turns
