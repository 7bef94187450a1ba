"""Measure a clip's motion and find near duplicates."""

from collections import defaultdict

import numpy as np

HASH_SIDE = 8
MAX_DIFFERENT_BITS = 6  # of 128; re-encoding changes about two
BITS_PER_DIFFERENCE = 10  # a small object on a plain background sets few bits, all by its position


def motion_of(frames: np.ndarray) -> float:
    """Return the mean change between consecutive frames, 0..255."""
    if len(frames) < 2:
        return 0.0
    return float(np.abs(np.diff(frames.astype(np.int16), axis=0)).mean())


def perceptual_hash(frames: np.ndarray) -> str:
    """Return 128 bits as hex that are robust to scaling and encoding.

    It is a difference hash of two moments of the clip. Each bit says whether a cell of an 8x9 grid
    is brighter than the cell to its left.
    """
    import cv2

    moments = (frames[len(frames) // 4], frames[3 * len(frames) // 4])
    bits = []
    for picture in moments:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        cells = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
        bits.append(cells[:, 1:] > cells[:, :-1])
    return np.packbits(np.concatenate(bits)).tobytes().hex()


class SeenClips:
    """Perceptual hashes of the clips so far.

    Hashes are divided into eight bands. Two hashes that differ in at most six bits share at least
    two bands, so only clips that share a band are compared. The fewer bits are set in either hash,
    the fewer may differ; plain pictures, which set none, never count as duplicates.
    """

    def __init__(self) -> None:
        self._by_band: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def is_new(self, hash: str) -> bool:
        """Add a clip and return True, unless it has a near duplicate.

        Raises ValueError if the hash is not a hexadecimal number.
        """
        try:
            value = int(hash, 16)
        except ValueError:
            raise ValueError(f"perceptual_hash {hash!r} is not a hexadecimal number") from None
        bands = [(band, value >> 16 * band & 0xFFFF) for band in range(8)]
        for band in bands:
            for seen in self._by_band.get(band, ()):
                num_set = (value | seen).bit_count()
                limit = min(MAX_DIFFERENT_BITS, num_set // BITS_PER_DIFFERENCE)
                if num_set and (value ^ seen).bit_count() <= limit:
                    return False
        for band in bands:
            self._by_band[band].append(value)
        return True
