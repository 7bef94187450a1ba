"""Format and parse the keys of packed clips: row and clip number."""

import re


def sample_key(row: int, clip: int) -> str:
    """Return the key of a clip."""
    return f"{row:08d}-{clip:04d}"


def parse_key(key: str) -> tuple[int, int] | tuple[None, None]:
    """Parse a key into (row, clip), or (None, None) for other keys."""
    match = re.fullmatch(r"(\d{8,})-(\d{4,})", key)
    return (int(match[1]), int(match[2])) if match else (None, None)
