"""Write a level of two rooms in Doom's format."""

import struct
from pathlib import Path

import numpy as np

from data_tools.games.level import NO_SIDE, TABLES

PLAYER_START, MONSTER, LAMP = 1, 3004, 2028


def write_two_rooms(
    path: Path,
    *,
    step: int = 0,
    special: int = 0,
    texture: str = "BRICK1",
    right_light: int = 160,
    right_special: int = 0,
    lamp: tuple[int, int] | None = None,
) -> Path:
    """Write MAP01, two rooms of 1024 by 1024 units.

    They are joined along their whole side, where x is 1024.

    The left one is under a sky, the right one has walls of a texture; its floor is higher by
    `step`, and `special` acts on crossing between them. A player starts in the left one, a monster
    stands in the right one, and so does a lamp.
    """
    corners = [(0, 0), (1024, 0), (2048, 0), (2048, 1024), (1024, 1024), (0, 1024)]
    walls = [(0, 5, 0), (5, 4, 0), (1, 0, 0), (4, 3, 1), (3, 2, 1), (2, 1, 1)]  # clockwise
    things = [((512, 512), 0, PLAYER_START, 7), ((1536, 512), 0, MONSTER, 7)]
    things += [(lamp, 0, LAMP, 7)] if lamp else []
    none = b"-"
    sides = [((0, 0), none, none, texture.encode(), sector) for _, _, sector in walls]
    sides += [((0, 0), none, none, none, 1), ((0, 0), none, none, none, 0)]
    lines = [((a, b), 1, 0, 0, (side, NO_SIDE)) for side, (a, b, _) in enumerate(walls)]
    lines += [((1, 4), 4, special, 0, (6, 7))]  # going north, its right side is the right room
    segs = [((a, b), 0, line, 0, 0) for line, (a, b, _) in enumerate(walls)]
    rows = {
        "THINGS": things,
        "LINEDEFS": lines,
        "SIDEDEFS": sides,
        "VERTEXES": [(corner,) for corner in corners],
        "SEGS": segs,
        "SSECTORS": [(3, 0), (3, 3)],
        "NODES": [((1024, 0), (0, 1024), (0,) * 8, (0x8001, 0x8000))],
        "SECTORS": [
            (0, 128, b"FLOOR", b"F_SKY1", 160, 0, 0),
            (step, 128 + step, b"FLOOR", b"CEIL", right_light, right_special, 0),
        ],
    }
    names = ["THINGS", "LINEDEFS", "SIDEDEFS", "VERTEXES", "SEGS", "SSECTORS", "NODES", "SECTORS"]
    lumps = [("MAP01", b"")]
    lumps += [(name, np.array(rows[name], np.dtype(TABLES[name])).tobytes()) for name in names]
    lumps += [("REJECT", b""), ("BLOCKMAP", b"")]
    content, table = b"", b""
    for name, data in lumps:
        table += struct.pack("<ii8s", 12 + len(content), len(data), name.encode())
        content += data
    path.write_bytes(struct.pack("<4sii", b"PWAD", len(lumps), 12 + len(content)) + content + table)
    return path
