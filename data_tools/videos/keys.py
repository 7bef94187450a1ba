"""The keys of packed clips: each tells its row and its number within the video."""

import re


def sample_key(row: int, clip: int) -> str:
    """Return the key of a clip."""
    return f"{row:08d}-{clip:04d}"


def place_of_key(key: str) -> tuple[int, int] | tuple[None, None]:
    """Return (row, clip) of a key, Nones if it is not one of these."""
    match = re.fullmatch(r"(\d{8,})-(\d{4,})", key)
    return (int(match[1]), int(match[2])) if match else (None, None)
