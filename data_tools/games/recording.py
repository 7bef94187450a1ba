"""Record clips of held actions; reject those without the action."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from t2vgan.data.shards import Geometry
from t2vgan.errors import UserError
from t2vgan.utils.seeds import random_generator

from ..videos.fitting import fit_picture
from .actions import ACTIONS, Action, predict_path
from .engine import Engine, wad_path
from .free_space import FreeSpace
from .level import Level, read_level

TICS_PER_FRAME = 3
TICS_PER_SECOND = 35
WARMUP_TICS = 8  # for which the action is held before the first picture
MAX_TRIES = 200
START_ERROR = 24  # maximum distance in units from the chosen start
DRIFT = 8  # units that a standing player may move
MAX_STEP = 60  # units between two pictures; more is a jump
LEAST_SHARE = 0.6  # minimum distance between two pictures, relative to that on free ground
SIDE_SHARE = 0.4  # maximum distance sideways, likewise
ANGLE_ERROR = 1.0  # degrees between two pictures
MIN_BRIGHTNESS, MIN_CONTRAST = 16, 12  # mean and standard deviation of the pixels, 0..255
PIXEL_STEP = 4  # stride of the pixels that are judged
PISTOL = 2


class Rejected(Exception):  # noqa: N818 (expected, and counted)
    """A rejected try; the reason is the only argument."""


@dataclass(frozen=True)
class ClipOrder:
    """A clip to record: its action and random seed."""

    action: str
    seed: int
    wanted: bool = True
    """Whether the clip is kept; if not, it is played only because later clips depend on it."""


@dataclass(frozen=True)
class EpisodeOrder:
    """Clips to record one after the other in one level."""

    level: str
    seed: int
    clips: tuple[ClipOrder, ...]
    geometry: Geometry


@dataclass
class RecordedClip:
    """A recorded clip and its metadata."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    positions: np.ndarray
    """(T, 3): x, y in map units and the angle in degrees at each picture."""
    turn: float
    """Degrees per tic to the left."""
    place: str | None
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason -> number of rejected tries before this clip."""


@lru_cache(maxsize=64)
def load_level(name: str) -> tuple[Level, FreeSpace]:
    """Return a bundled level and its free space."""
    level = read_level(wad_path(), name)
    return level, FreeSpace(level)


def record_clip(engine: Engine, order: ClipOrder, level: str, geometry: Geometry) -> RecordedClip:
    """Record a clip, retrying until it shows its action.

    Raises UserError if the level seems to have no room for it.
    """
    generator = random_generator(order.seed)
    rejected: dict[str, int] = {}
    for _ in range(MAX_TRIES):
        try:
            clip = _try_clip(engine, ACTIONS[order.action], level, geometry, generator)
        except Rejected as error:
            reason = str(error)
            rejected[reason] = rejected.get(reason, 0) + 1
        else:
            clip.rejected = dict(sorted(rejected.items()))
            return clip
    counts = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    raise UserError(
        f"level {level}: no clip of {order.action!r} in {MAX_TRIES} tries ({counts}); "
        "use fewer --num-frames, which need less room"
    )


def _try_clip(
    engine: Engine,
    action: Action,
    level_name: str,
    geometry: Geometry,
    generator: np.random.Generator,
) -> RecordedClip:
    level, free_space = load_level(level_name)
    low, high = action.turn_range
    turn = low + (high - low) * float(generator.random())
    num_tics = WARMUP_TICS + TICS_PER_FRAME * (geometry.num_frames - 1)
    path, _ = predict_path(action, turn, num_tics)
    start = free_space.choose_start(path[::TICS_PER_FRAME], generator)
    if start is None:
        raise Rejected("no room")
    engine.jump(start)
    if engine.has_ended:
        raise Rejected("ended")
    x, y, angle = engine.position()
    if np.hypot(x - start.x, y - start.y) > START_ERROR:
        raise Rejected("displaced")
    engine.hold(action, turn, WARMUP_TICS)
    frames = np.empty(geometry.shape, np.uint8)
    positions = np.empty((geometry.num_frames, 3))
    for number in range(geometry.num_frames):
        if number:
            engine.hold(action, turn, TICS_PER_FRAME)
        if engine.has_ended:
            raise Rejected("ended")
        picture = engine.picture()
        check_picture(picture)
        frames[number] = fit_picture(picture, geometry, "crop")
        positions[number] = engine.position()
    if engine.weapon != PISTOL:
        raise Rejected("weapon")
    check_motion(action, turn, positions)
    return RecordedClip(frames, positions, turn, level.place_at(x, y, angle))


def check_motion(action: Action, turn: float, positions: np.ndarray) -> None:
    """Raise Rejected unless a clip's motion matches its action.

    turn: degrees per tic to the left; positions: (T, 3) as in RecordedClip.
    """
    if len(positions) < 2:
        return
    steps = np.diff(positions[:, :2], axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    turned = (np.diff(positions[:, 2]) + 180) % 360 - 180
    if (lengths > MAX_STEP).any():
        raise Rejected("jumped")
    if (np.abs(turned - turn * TICS_PER_FRAME) > ANGLE_ERROR).any():
        raise Rejected("turned otherwise")
    if not action.moves:
        if lengths.sum() > DRIFT:
            raise Rejected("pushed")
        return
    num_tics = WARMUP_TICS + TICS_PER_FRAME * (len(positions) - 1)
    path, angles = predict_path(action, turn, num_tics)
    expected = np.diff(path[WARMUP_TICS::TICS_PER_FRAME], axis=0)
    offset = np.radians(positions[0, 2] - angles[WARMUP_TICS])
    cosine, sine = np.cos(offset), np.sin(offset)
    expected = expected @ np.array([[cosine, sine], [-sine, cosine]])
    speed = np.linalg.norm(expected, axis=1)
    along = (steps * expected).sum(axis=1) / speed
    across = (steps[:, 1] * expected[:, 0] - steps[:, 0] * expected[:, 1]) / speed
    if (along < LEAST_SHARE * speed).any():
        raise Rejected("stuck")
    if (np.abs(across) > SIDE_SHARE * speed).any():
        raise Rejected("pushed aside")


def check_picture(picture: np.ndarray) -> None:
    """Raise Rejected for a nearly black or uniform picture.

    The picture is judged before it is resized, so that the result does not depend on the size.
    """
    seen = picture[::PIXEL_STEP, ::PIXEL_STEP]
    if seen.mean() < MIN_BRIGHTNESS:
        raise Rejected("dark")
    if seen.std() < MIN_CONTRAST:
        raise Rejected("low contrast")
