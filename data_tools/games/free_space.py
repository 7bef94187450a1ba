"""Choose where a clip starts, with free ground ahead.

The level is drawn on a grid; a distance transform gives each cell's distance to obstacles.
"""

from dataclasses import dataclass

import numpy as np

from .level import UNSAFE, Level

CELL = 8  # map units
MARGIN = 4  # cells around the level
REACH = 32  # units: the player's radius of 16 along the diagonal, and the grid's error
START_CLEARANCE = 64
VIEW = 160  # units that must be free ahead in the first frame
LAST_VIEW = 72  # and in the last frame, if the player moves
NUM_CANDIDATES = 256
MAX_COMPARED = 32  # free candidates, searched for one under the wanted kind of ceiling
OUTDOOR_SHARE = 0.4  # wanted; otherwise nearly all clips would show large open areas
THING_RADIUS = 24
MIN_LIGHT = 112  # of a sector; darker ones look black
MONSTERS = frozenset(
    (
        *(7, 9, 16, 58, 64, 65, 66, 67, 68, 69, 71, 72, 84, 87, 88, 89),
        *(3001, 3002, 3003, 3004, 3005, 3006),
    )
)
MARKERS = frozenset((1, 2, 3, 4, 11, 14))  # of players and teleporters


@dataclass(frozen=True)
class Start:
    """Where a clip starts: position in map units, angle in degrees."""

    x: float
    y: float
    angle: float


class FreeSpace:
    """The distance of each cell of a level to obstacles."""

    def __init__(self, level: Level):
        import cv2

        self._level = level
        ends = level.ends
        self._origin = ends.reshape(-1, 2).min(axis=0) - MARGIN * CELL
        size = self._cells(ends.reshape(-1, 2).max(axis=0))[::-1] + MARGIN + 1
        open_cells = np.full(size, 255, np.uint8)
        for first, last in self._cells(ends[level.blocking_lines()]).tolist():
            cv2.line(open_cells, first, last, 0)
        things = level.things
        positions = self._cells(things["position"].astype(np.float64))
        safe = [
            level.sector_at(*thing.tolist())["special"] not in UNSAFE
            for thing in things["position"]
        ]
        inside = self._reachable(open_cells, positions[safe])
        standing = ~np.isin(things["kind"], [*MONSTERS, *MARKERS])
        for centre in positions[standing].tolist():
            cv2.circle(open_cells, centre, THING_RADIUS // CELL, 0, cv2.FILLED)
        clearance = cv2.distanceTransform(open_cells, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * CELL
        self.clearance = np.where(inside, clearance, 0)
        """(rows, columns) float32, map units; 0 outside the level."""
        self.starts = np.argwhere(self.clearance >= START_CLEARANCE)[:, ::-1]
        """(N, 2) cells (column, row) where a clip may start."""

    @staticmethod
    def _reachable(open_cells: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return which cells belong to a region in which a thing stands."""
        import cv2

        _, regions = cv2.connectedComponents(open_cells, connectivity=4)
        lived_in = np.unique(regions[positions[:, 1], positions[:, 0]])
        return np.isin(regions, lived_in[lived_in > 0])

    def _cells(self, points: np.ndarray) -> np.ndarray:
        """Return the cells (column, row) of points (..., 2)."""
        return np.floor((points - self._origin) / CELL).astype(np.int64)

    def clearance_at(self, points: np.ndarray) -> np.ndarray:
        """Return the clearance at points (..., 2), 0 outside the grid."""
        column, row = np.moveaxis(self._cells(points), -1, 0)
        rows, columns = self.clearance.shape
        known = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return np.where(
            known, self.clearance[row.clip(0, rows - 1), column.clip(0, columns - 1)], 0
        )

    def choose_start(self, path: np.ndarray, generator: np.random.Generator) -> Start | None:
        """Choose a start from which the player can go along a path.

        path: (T, 2) units from the start, for a player who faces along x. Returns None if none of
        many random starts is free.
        """
        if not len(self.starts):
            return None
        numbers = generator.random((NUM_CANDIDATES + 1, 4))
        cells = self.starts[(numbers[:-1, 0] * len(self.starts)).astype(np.int64)]
        starts = self._origin + (cells + numbers[:-1, 1:3]) * CELL
        angles = numbers[:-1, 3] * 360
        wanted = bool(numbers[-1, 0] < OUTDOOR_SHARE)
        other = None  # the first start under the other kind of ceiling
        for number in self._free_starts(starts, angles, path)[:MAX_COMPARED].tolist():
            start = Start(float(starts[number, 0]), float(starts[number, 1]), float(angles[number]))
            sector = self._level.sector_at(start.x, start.y)
            if sector["special"] in UNSAFE or sector["light"] < MIN_LIGHT:
                continue
            if sector["ceiling_flat"].startswith(b"F_SKY") == wanted:
                return start
            other = other or start
        return other

    def _free_starts(self, starts: np.ndarray, angles: np.ndarray, path: np.ndarray) -> np.ndarray:
        """Return the indexes of the starts with a free path and view.

        starts: (N, 2); angles: (N,) degrees; path: (T, 2).
        """
        radians = np.radians(angles)
        ahead = np.stack([np.cos(radians), np.sin(radians)], axis=-1)
        left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
        paths = starts[:, None] + path[:, :1] * ahead[:, None] + path[:, 1:] * left[:, None]
        free = np.flatnonzero((self.clearance_at(paths) >= REACH).all(axis=1))
        free = free[self._last_view_is_free(paths[free])]
        view = starts[free, None] + np.arange(CELL, VIEW, CELL)[:, None] * ahead[free, None]
        return free[(self.clearance_at(view) > 0).all(axis=1)]

    def _last_view_is_free(self, paths: np.ndarray) -> np.ndarray:
        """Return for each path whether its last view is free."""
        last = paths[:, -1] - paths[:, -2]
        speed = np.linalg.norm(last, axis=-1, keepdims=True)
        direction = last / np.maximum(speed, 1e-9)
        steps = np.arange(0, LAST_VIEW, CELL)[:, None]
        seen = self.clearance_at(paths[:, -1:] + steps * direction[:, None])
        return np.all(seen > 0, axis=1)
