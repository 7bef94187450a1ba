"""Read a level of a Doom WAD: walls, floors, things and materials.

The format is that of the original game: little-endian tables in the lumps after the level's name
(Unofficial Doom Specs 1.666, M. S. Fell, 1994).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError

TABLES: dict[str, list[tuple[str, str] | tuple[str, str, int]]] = {
    "THINGS": [("position", "<i2", 2), ("angle", "<i2"), ("kind", "<i2"), ("flags", "<i2")],
    "LINEDEFS": [
        *(("vertexes", "<u2", 2), ("flags", "<u2"), ("special", "<u2"), ("tag", "<u2")),
        ("sides", "<u2", 2),
    ],
    "SIDEDEFS": [
        *(("offset", "<i2", 2), ("upper", "S8"), ("lower", "S8"), ("middle", "S8")),
        ("sector", "<u2"),
    ],
    "VERTEXES": [("position", "<i2", 2)],
    "SEGS": [
        *(("vertexes", "<u2", 2), ("angle", "<i2"), ("line", "<u2"), ("side", "<u2")),
        ("offset", "<i2"),
    ],
    "SSECTORS": [("num_segs", "<u2"), ("first_seg", "<u2")],
    "NODES": [("start", "<i2", 2), ("step", "<i2", 2), ("boxes", "<i2", 8), ("child", "<u2", 2)],
    "SECTORS": [
        *(("floor", "<i2"), ("ceiling", "<i2"), ("floor_flat", "S8"), ("ceiling_flat", "S8")),
        *(("light", "<i2"), ("special", "<u2"), ("tag", "<u2")),
    ],
}
NO_SIDE = 0xFFFF
LEAF = 0x8000  # flag of a node's child: the other bits are the number of a subsector
IMPASSABLE = 1  # flag of a line

MAX_STEP = 24  # units that the player can climb; higher drops are avoided as well
PLAYER_HEIGHT = 56
UNSAFE = (4, 5, 7, 9, 10, 11, 14, 16)  # sector specials: damage, secrets, doors, the level's end
DARK_LIGHT = 127  # brightest level that is called dark
MOST = 0.45  # share of the walls ahead at which their material names a place
MATERIAL_REACH = 600  # units up to which walls name a place
STARTS_OF_TEXTURES = {
    "brick": "BRICK BIGBRIK BRWINDOW A-BRICK A-BRB A-DBRI A-MOSBRI",
    "stone": "STONE GSTONE GST CEMENT GRAY CONCRETE ICKWALL AQCONC STUCCO MODWALL",
    "rock": "ROCK ASHWALL TANROCK ZIMMER SP_ROCK A-DROCK CRACKLE BSTONE",
    "metal": (
        "METAL SUPPORT SHAWN SILVER SLAD BRONZE PIPE DOOR BIGDOOR MIDBARS AQMETL AQRUST AQPIPE"
    ),
    "panels": "COMP STAR TEK LITE SPACE BROWN BROVINE NUKE",
    "marble": "MARB GSTGARG GSTLION",
}
PLACES = ("sky", "dark", *STARTS_OF_TEXTURES)


@dataclass(frozen=True)
class Level:
    """The tables of a level, as structured arrays like the file's."""

    name: str
    things: np.ndarray
    lines: np.ndarray
    sides: np.ndarray
    vertexes: np.ndarray
    """(N, 2) float64, map units."""
    segs: np.ndarray
    subsectors: np.ndarray
    nodes: np.ndarray
    sectors: np.ndarray
    materials: tuple[str | None, ...]
    """Material of each line's right side; None without a texture, "" for an unknown one."""

    @cached_property
    def ends(self) -> np.ndarray:
        """The two ends of each line, (N, 2, 2)."""
        return self.vertexes[self.lines["vertexes"]]

    def sector_at(self, x: float, y: float) -> np.void:
        """Return the sector at a point, found in the level's BSP tree."""
        child = len(self._tree) - 1
        while not child & LEAF:
            (start_x, start_y), (step_x, step_y), (right, left) = self._tree[child]
            is_right = (x - start_x) * step_y - (y - start_y) * step_x > 0
            child = right if is_right else left
        return self.sectors[self._leaves[child & ~LEAF]]

    @cached_property
    def _tree(self) -> list[list[list[int]]]:
        """Return the start, step and children of each node, as integers."""
        columns = (self.nodes[name].tolist() for name in ("start", "step", "child"))
        return [list(node) for node in zip(*columns, strict=True)]

    @cached_property
    def _leaves(self) -> list[int]:
        """Return the sector of each subsector."""
        first = self.segs[self.subsectors["first_seg"]]
        side = self.lines["sides"][first["line"], first["side"]]
        return self.sides["sector"][side].tolist()

    def place_at(self, x: float, y: float, angle: float) -> str | None:
        """Return the word of PLACES that describes a view, if any.

        Sky and darkness take precedence over the most common material of the walls ahead. angle:
        degrees counterclockwise from the x axis.
        """
        sector = self.sector_at(x, y)
        if sector["ceiling_flat"].startswith(b"F_SKY"):
            return "sky"
        if sector["light"] <= DARK_LIGHT:
            return "dark"
        totals = self._materials_ahead(x, y, angle)
        best = max(totals, key=lambda material: totals[material], default="")
        return best if best and totals[best] > MOST * sum(totals.values()) else None

    def _materials_ahead(self, x: float, y: float, angle: float) -> dict[str, float]:
        """Return approximately how much of the view each material fills."""
        ends = self.ends
        away = ends.mean(axis=1) - (x, y)
        distance = np.linalg.norm(away, axis=1)
        view = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        seen = (distance < MATERIAL_REACH) & (away @ view > 0.3 * distance)
        weights = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / (distance + 64)
        totals: dict[str, float] = {}
        for line in np.flatnonzero(seen).tolist():
            if (material := self.materials[line]) is not None:
                totals[material] = totals.get(material, 0.0) + float(weights[line])
        return totals

    def blocking_lines(self) -> np.ndarray:
        """Return which lines the player must not cross, (N,) bool.

        These are walls, steps that are too high (up or down), low gaps, lines that trigger an
        action when crossed, and the edges of unsafe sectors.
        """
        lines = self.lines
        two_sided = (lines["sides"] != NO_SIDE).all(axis=1)
        sides = np.where(two_sided[:, None], lines["sides"], 0)
        right, left = self.sectors[self.sides["sector"][sides]].T
        floor = np.maximum(right["floor"], left["floor"])
        ceiling = np.minimum(right["ceiling"], left["ceiling"])
        step = np.abs(right["floor"].astype(int) - left["floor"])
        unsafe = np.isin(right["special"], UNSAFE) != np.isin(left["special"], UNSAFE)
        low = ceiling.astype(int) - floor < PLAYER_HEIGHT
        impassable = (lines["flags"] & IMPASSABLE) != 0
        acts = lines["special"] != 0
        return ~two_sided | impassable | acts | unsafe | low | (step > MAX_STEP)


def read_level(path: Path, name: str) -> Level:
    """Read a level of a WAD file, or raise UserError."""
    data = path.read_bytes()
    if data[:4] not in (b"IWAD", b"PWAD"):
        raise UserError(f"{path}: not a WAD file (it starts with {data[:4]!r})")
    count, table = struct.unpack_from("<ii", data, 4)
    lumps = [struct.unpack_from("<ii8s", data, table + 16 * number) for number in range(count)]
    names = [lump.rstrip(b"\0").decode("latin1") for _, _, lump in lumps]
    if name not in names:
        raise UserError(f"{path}: no level {name}")
    first = names.index(name) + 1
    ranges = dict(zip(names[first : first + 10], lumps[first : first + 10], strict=True))
    tables = {}
    for lump, fields in TABLES.items():
        start, size, _ = ranges[lump]
        kind = np.dtype(fields)
        table_bytes = data[start : start + size]  # a copy: a view would keep the file in memory
        tables[lump] = np.frombuffer(table_bytes, kind)
    sides, lines = tables["SIDEDEFS"], tables["LINEDEFS"]
    return Level(
        name=name,
        things=tables["THINGS"],
        lines=lines,
        sides=sides,
        vertexes=tables["VERTEXES"]["position"].astype(np.float64),
        segs=tables["SEGS"],
        subsectors=tables["SSECTORS"],
        nodes=tables["NODES"],
        sectors=tables["SECTORS"],
        materials=tuple(material_of(sides[line["sides"][0]]) for line in lines),
    )


def material_of(side: np.void) -> str | None:
    """Return the material of a side; see `Level.materials`."""
    names: Sequence[str] = [side[part].decode("latin1") for part in ("middle", "lower", "upper")]
    texture = next((name for name in names if name not in ("-", "")), None)
    if texture is None:
        return None
    starts = STARTS_OF_TEXTURES.items()
    return next((material for material, of in starts if texture.startswith(tuple(of.split()))), "")
