"""Compare what commands made with the goldens: bit for bit where machine and libraries allow it.

Bits can be asked for where torch has the golden's version and `arithmetic` prints the golden's
digest. Elsewhere they may still agree; where they do not, numbers must be near, and a warning says
that no more was compared.
"""

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.golden.commands import RELATIVISTIC
from tests.golden.outcomes import Json, gif_frames

METRIC_TOLERANCE = 1e-4
"""Of a number between processors or versions of torch, over its size (or over 1e-3)."""
TENSOR_TOLERANCE = 1e-4
"""Of a tensor's sums, over the sum of its numbers' sizes; with AVX2 code it was at most 1e-5."""
SCHEDULE_TOLERANCE = 1e-12
"""Of a scheduled value: no tensor has part in it."""
METER_TOLERANCE = 0.1
"""Of a reading of the motion meter: it counts, so that a little may become a whole clip."""
MAX_MEAN_LEVELS = 1.0
"""Of 255, over all pixels of a video: a few pixels at an outline may be drawn otherwise."""
SHOWN = 12
SCHEDULED = re.compile(r"train/\d+/(lr/.*|beta2|gamma|recovery/weight|ema/halflife|camera/std)")


class NotComparedExactlyWarning(UserWarning):
    """Bits could not be asked for here; the text says why and what was asked for instead."""


def computes_alike(golden: Json, here: Json) -> bool:
    """Return whether this machine must give the golden's bits."""
    ours, theirs = here["versions"]["torch"], golden["versions"]["torch"]
    same_torch = ours.partition("+")[0] == theirs.partition("+")[0]
    return same_torch and here["arithmetic"] == golden["arithmetic"]


def why_not(golden: Json, here: Json) -> str:
    return (
        f"the golden was made with {golden['versions']} on {golden['processor']}, here are"
        f" {here['versions']} on {here['processor']}, and the arithmetic is"
        f" {'the same' if golden['arithmetic'] == here['arithmetic'] else 'another'}"
    )


def check_run(case: str, found: Json, golden: Json, here: Json) -> None:
    """Compare a run's outcome with a golden: exactly where possible, else nearly, with a warning.

    What differs is named.
    """
    expected, made_with = golden["outcome"], golden["made_with"]
    if not (wrong := differences(found, expected)):
        return
    assert not computes_alike(made_with, here), (
        f"not the bits of the golden, though this machine computes alike:{in_lines(wrong)}"
    )
    reason = f"training was compared nearly, not exactly: {why_not(made_with, here)}"
    wrong = far_apart(case, found, expected, METRIC_TOLERANCE, TENSOR_TOLERANCE)
    assert not wrong, f"{reason}; not even near:{in_lines(wrong)}"
    warnings.warn(NotComparedExactlyWarning(reason), stacklevel=2)


def far_apart(case: str, found: Json, expected: Json, metrics: float, tensors: float) -> list[str]:
    """Return a line for each leaf of two outcomes of a case that is not near."""
    tolerances = {"tensors": tensors, "evaluation": METER_TOLERANCE, "train": metrics}

    def tolerance_of(name: str) -> float:
        is_scheduled = SCHEDULED.fullmatch(name)
        return SCHEDULE_TOLERANCE if is_scheduled else tolerances.get(name.split("/")[0], 0.0)

    return [
        f"{name}: {ours!r}, expected {theirs!r}"
        for name, ours, theirs in pairs(meant(case, found), meant(case, expected))
        if not distance_of(name, ours, theirs) <= tolerance_of(name)
    ]


def meant(case: str, outcome: Json) -> Json:
    """Return an outcome without what rounding alone decides, and with its records by their kind."""
    kinds: Json = {"train": [], "evaluation": []}
    for record in outcome["metrics"]:
        kinds[record["kind"]].append(dict(record))
    result = {**outcome, "metrics": None, **kinds}
    if case in RELATIVISTIC:
        for record in kinds["train"]:
            real, fake = record.pop("logits/real"), record.pop("logits/fake")
            record["logits/difference"] = real - fake
    return result


def distance_of(name: str, found: Json, expected: Json) -> float:
    """Return how far apart two leaves are, over their size; infinite where they must be equal."""
    if isinstance(found, list) and isinstance(expected, list) and name.startswith("tensors/"):
        size = max(expected[2], 1e-6)
        return max(abs(a - b) / size for a, b in zip(found[1:], expected[1:], strict=True))
    if is_number(found) and is_number(expected):
        least = 1.0 if name.startswith("evaluation/") else 1e-3
        return abs(found - expected) / max(abs(expected), least)
    return 0.0 if found == expected else math.inf


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences(found: Json, expected: Json) -> list[str]:
    """Return a line for each leaf that is not exactly equal."""
    return [
        f"{name}: {ours!r}, expected {theirs!r}"
        for name, ours, theirs in pairs(found, expected)
        if ours != theirs or type(ours) is not type(theirs)
    ]


def pairs(found: Json, expected: Json, name: str = "") -> Iterator[tuple[str, Json, Json]]:
    """Yield (path, found, expected) of all leaves; None for one that is missing.

    A list of plain values is one leaf.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            yield from pairs(found.get(key), expected.get(key), f"{name}/{key}".lstrip("/"))
    elif is_nested(found) and is_nested(expected):
        for index in range(max(len(found), len(expected))):
            ours, theirs = (part[index : index + 1] or [None] for part in (found, expected))
            yield from pairs(ours[0], theirs[0], f"{name}/{index}")
    else:
        yield name, found, expected


def is_nested(value: Json) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def in_lines(wrong: list[str]) -> str:
    more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*wrong[:SHOWN], *more])


def check_files(found: Json, golden: Json, here: Json, libraries: tuple[str, ...]) -> None:
    """Compare checksums of files; where those libraries have other versions, warn only."""
    if not (wrong := differences(found, golden["files"])):
        return
    ours, theirs = (
        {name: made["versions"][name] for name in libraries} for made in (here, golden["made_with"])
    )
    assert ours != theirs, f"not the bytes of the golden:{in_lines(wrong)}"
    reason = f"files were made by {ours} here, the golden's by {theirs}; their bytes differ:"
    warnings.warn(NotComparedExactlyWarning(f"{reason}{in_lines(wrong)}"), stacklevel=2)


def check_frames(path: Path, stored: Path, reason: str) -> None:
    """Compare a video with a stored one, nearly, and say that no more was asked for."""
    found, expected = (gif_frames(file).astype(np.float64) for file in (path, stored))
    assert found.shape == expected.shape, f"{path.name}: {found.shape}, not {expected.shape}"
    levels = float(np.abs(found - expected).mean())
    assert levels <= MAX_MEAN_LEVELS, f"{path.name}: {levels:.2f} levels apart; {reason}"
    warnings.warn(
        NotComparedExactlyWarning(f"{path.name}: compared nearly; {reason}"), stacklevel=2
    )
