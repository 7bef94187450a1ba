"""Check the arguments of generation before anything is loaded."""

import operator
from collections.abc import Iterable
from numbers import Real

from t2vgan.errors import UserError

MAX_FRAMES = 2048  # one forward pass generates a whole clip
MAX_SEED = 2**63 - 1


def check_drawing(
    *, num_videos: int, seed: int, num_frames: int | None, truncation: float, as_flags: bool = False
) -> None:
    """Raise UserError for numbers out of range, spelled as arguments or flags."""
    for name, value in (("num_videos", num_videos), ("num_frames", num_frames), ("seed", seed)):
        if value is not None:
            as_integer(name, value)
    if num_videos < 1:
        raise UserError(f"{spell('num_videos', num_videos, as_flags)}: must be at least 1")
    if num_frames is not None and not 1 <= num_frames <= MAX_FRAMES:
        spelled = spell("num_frames", num_frames, as_flags)
        raise UserError(f"{spelled}: must be between 1 and {MAX_FRAMES}")
    if not 0 <= seed <= MAX_SEED - num_videos:
        spelled = spell("seed", seed, as_flags)
        raise UserError(f"{spelled}: must be between 0 and 2**63 - 1 - num_videos")
    if not isinstance(truncation, Real) or not 0 <= truncation <= 1:
        spelled = spell("truncation", truncation, as_flags)
        raise UserError(f"{spelled}: must be between 0 (typical) and 1 (as in training)")


def check_seeds(seeds: Iterable[int]) -> list[int]:
    """Return seeds as Python integers; UserError for other values."""
    checked = [as_integer("seed", seed) for seed in seeds]
    for seed in checked:
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"seed={seed}: must be between 0 and 2**63 - 1")
    return checked


def as_integer(name: str, value: object) -> int:
    """Return any library's integer as Python's; UserError for other values."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"{name}={value!r}: must be an integer") from None


def check_sides(*, scale: int | None, height: int | None, as_flags: bool = False) -> None:
    """Raise UserError if both are given, or one is not positive."""
    given = {name: n for name, n in (("scale", scale), ("height", height)) if n is not None}
    for name, value in given.items():
        as_integer(name, value)
    spelled = [spell(name, value, as_flags) for name, value in given.items()]
    if len(given) > 1:
        raise UserError(f"{' and '.join(spelled)}: give only one of them")
    if min(given.values(), default=1) < 1:
        raise UserError(f"{spelled[0]}: must be at least 1")


def spell(name: str, value: object, as_flags: bool) -> str:
    """Spell an argument as Python (name=value) or as a flag (--name value)."""
    return f"--{name.replace('_', '-')} {value}" if as_flags else f"{name}={value}"
