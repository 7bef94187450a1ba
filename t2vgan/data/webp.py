"""A lossless WebP encoder for flat pictures: few colours, long runs.

Rendered film strips are such pictures. A general encoder spends most of its time searching for
structure that they do not have; this one knows what to look for, takes half the time, and
gives the same bytes for the same picture whatever library versions are installed.

The picture becomes a palette, and each run of equal pixels becomes one literal and one copy of
the pixel before it. Both are Huffman-coded. The layout is that of the WebP lossless bitstream
specification (RFC 9649, section 3), where bits fill each byte from the lowest.
"""

import heapq
import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat

import numpy as np

MAX_COLOURS = 256
MIN_PALETTE = 17  # with fewer entries WebP packs several pixels into one, which buys nothing here
MAX_COPY = 4096
NUM_LITERALS, NUM_LENGTHS = 256, 24
MAX_CODE_BITS = 15
DISTANCE_LEFT = 1  # the prefix symbol of distance code 2: copy from the pixel to the left

# How the lengths of a prefix code are themselves coded: always with this complete code.
REPEAT_ZERO_3, REPEAT_ZERO_11 = 17, 18
LENGTH_CODE_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
LENGTH_CODE_BITS = [4] * 14 + [5, 5, 0, 5, 5]


def encode_flat(image: np.ndarray) -> bytes | None:
    """Encode an image (H, W, 3) uint8 RGB losslessly as WebP; None if it is not flat.

    Flat means at most 256 colours, and runs of eight equal pixels on average.
    """
    height, width, _ = image.shape
    runs = _runs(image)
    if runs is None:
        return None
    palette, indexes, lengths = runs
    bits = Bits()
    bits.write(0x2F, 8)
    bits.write(width - 1, 14)
    bits.write(height - 1, 14)
    bits.write(0, 1 + 3)  # no alpha, version 0
    bits.write(1, 1)  # a transform follows:
    bits.write(3, 2)  # colour indexing
    bits.write(*_palette_bits(palette.tobytes()))
    bits.write(0, 3)  # no further transform, no colour cache, one set of prefix codes
    _write_runs(bits, indexes, lengths)
    return _container(bits.to_bytes())


class Bits:
    """A growing string of bits, kept as one integer."""

    def __init__(self) -> None:
        self.value = 0
        self.length = 0

    def write(self, value: int, num_bits: int) -> None:
        """Append the lowest bits of a number."""
        self.value |= value << self.length
        self.length += num_bits

    def write_all(self, values: np.ndarray, num_bits: np.ndarray) -> None:
        """Append many numbers (N,) of up to 32 bits each."""
        ends = np.cumsum(num_bits)
        starts = ends - num_bits
        word, shifted = starts >> 5, values.astype(np.uint64) << (starts & 31).astype(np.uint64)
        num_words = int(ends[-1] >> 5) + 2
        # No two numbers share a bit, so their sums in float64 are exact.
        low = np.bincount(word, shifted & 0xFFFFFFFF, num_words)
        low += np.bincount(word + 1, shifted >> 32, num_words)
        self.write(int.from_bytes(low.astype("<u4").tobytes(), "little"), int(ends[-1]))

    def to_bytes(self) -> bytes:
        """Return the bits, the last byte filled with zeros."""
        return self.value.to_bytes(-(-self.length // 8), "little")


class PrefixCode:
    """A Huffman code over an alphabet: for each symbol its code and its number of bits."""

    def __init__(self, counts: np.ndarray):
        self._lengths = _huffman_lengths(counts)
        codes = _canonical_codes(self._lengths)
        self.codes, self.num_bits = np.zeros((2, len(counts)), np.int64)
        self.codes[list(codes)] = list(codes.values())
        self.num_bits[list(self._lengths)] = list(self._lengths.values())

    def write(self, bits: Bits) -> None:
        """Append the description from which a decoder rebuilds the code."""
        if len(self._lengths) == 1:
            _write_only(bits, min(self._lengths))
            return
        bits.write(*LENGTH_CODE_HEADER)
        for symbol, extra, num_extra in _run_length_zeros(self._lengths, len(self.codes)):
            num_bits = LENGTH_CODE_BITS[symbol]
            bits.write(LENGTH_CODES[symbol] | extra << num_bits, num_bits + num_extra)


def _runs(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the palette (P,) and, for each run of pixels, its palette index and its length."""
    values = np.ascontiguousarray(image).reshape(-1)
    num_pixels = len(values) // 3
    changed = np.flatnonzero(values[3:] != values[:-3]) // 3 + 1  # up to three times a pixel
    starts = np.concatenate([[0], changed[np.diff(changed, prepend=0) > 0]])
    if 8 * len(starts) > max(num_pixels, 2048):
        return None
    red, green, blue = values.reshape(-1, 3)[starts].astype(np.uint32).T
    palette, indexes = np.unique(blue << 16 | green << 8 | red, return_inverse=True)
    if len(palette) > MAX_COLOURS:
        return None
    return palette, indexes, np.diff(starts, append=num_pixels)


@lru_cache(maxsize=64)
def _palette_bits(palette_bytes: bytes) -> tuple[int, int]:
    """Return the palette as bits: an image of one row, each colour less the one before it."""
    bits = Bits()
    palette = np.frombuffer(palette_bytes, np.uint32)
    palette = np.pad(palette, (0, max(0, MIN_PALETTE - len(palette))), mode="edge")
    bits.write(len(palette) - 1, 8)
    bits.write(0, 1)  # no colour cache
    opaque = palette | np.uint32(0xFF000000)
    channels = [(opaque >> shift & 0xFF).astype(np.int64) for shift in (8, 0, 16, 24)]  # G R B A
    deltas = [np.diff(channel, prepend=0) % 256 for channel in channels]
    codes = [PrefixCode(np.bincount(delta, minlength=NUM_LITERALS)) for delta in deltas]
    codes[0] = PrefixCode(np.bincount(deltas[0], minlength=NUM_LITERALS + NUM_LENGTHS))
    for code in codes:
        code.write(bits)
    _write_only(bits, 0)  # the distance code, never used
    pairs = list(zip(codes, deltas, strict=True))
    values = np.stack([code.codes[delta] for code, delta in pairs], axis=1)
    num_bits = np.stack([code.num_bits[delta] for code, delta in pairs], axis=1)
    bits.write_all(values.ravel(), num_bits.ravel())
    return bits.value, bits.length


def _write_runs(bits: Bits, indexes: np.ndarray, lengths: np.ndarray) -> None:
    """Append the pixels: for each run a literal, then a copy of the rest of it."""
    pieces = -(-lengths // (MAX_COPY + 1))
    if pieces.max() > 1:
        last = np.cumsum(pieces) - 1
        rest = lengths - (pieces - 1) * (MAX_COPY + 1)
        indexes, lengths = indexes.repeat(pieces), np.full(pieces.sum(), MAX_COPY + 1)
        lengths[last] = rest
    copies = lengths - 1
    symbols, extra, num_extra = _length_symbols(copies)
    has_copy = copies > 0
    counts = np.bincount(indexes, minlength=NUM_LITERALS + NUM_LENGTHS)
    counts += np.bincount(symbols[has_copy], minlength=len(counts))
    code = PrefixCode(counts)
    code.write(bits)
    for symbol in (0, 0, 255, DISTANCE_LEFT):  # red, blue and alpha of an index; the distance
        _write_only(bits, symbol)
    copy_bits = code.num_bits[symbols]
    copy_values = code.codes[symbols] | extra << copy_bits
    values, num_bits = np.empty((2, len(indexes), 2), np.int64)
    values[:, 0], values[:, 1] = code.codes[indexes], copy_values * has_copy
    num_bits[:, 0], num_bits[:, 1] = code.num_bits[indexes], (copy_bits + num_extra) * has_copy
    bits.write_all(values.ravel(), num_bits.ravel())


def _length_symbols(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the prefix symbol, the extra bits and their number for each copy length (N,)."""
    below = np.maximum(lengths - 1, 0)
    top = np.frexp(below)[1] - 1  # the place of the highest bit; -1 for zero
    num_extra = np.maximum(top - 1, 0)
    symbols = np.where(below < 4, below, 2 * top + (below >> num_extra & 1))
    num_extra = np.where(below < 4, 0, num_extra)
    return NUM_LITERALS + symbols, below & (1 << num_extra) - 1, num_extra


def _write_only(bits: Bits, symbol: int) -> None:
    """Append a simple code: one 8-bit symbol, which then takes no bits at all."""
    bits.write(0b101 | symbol << 3, 11)


def _huffman_lengths(counts: np.ndarray) -> dict[int, int]:
    """Return the Huffman code length of each symbol that occurs: 1 to 15 bits; 0 if it is alone."""
    lengths = dict.fromkeys(np.flatnonzero(counts).tolist(), 0)
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (int(counts[symbol]), symbol, (symbol,)) for symbol in lengths
    ]
    heapq.heapify(heap)
    while len(heap) > 1:
        count, first, symbols = heapq.heappop(heap)
        other_count, _, others = heap[0]
        merged = symbols + others
        for symbol in merged:
            lengths[symbol] += 1
        heapq.heapreplace(heap, (count + other_count, first, merged))
    if max(lengths.values()) > MAX_CODE_BITS:
        return _huffman_lengths((counts + 1) // 2)  # flatter counts make a shallower tree
    return lengths


def _canonical_codes(lengths: dict[int, int]) -> dict[int, int]:
    """Return the canonical code of each symbol, its bits reversed as the format wants."""
    codes = {}
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - previous
        codes[symbol] = _reverse_bits(code, length)
        code, previous = code + 1, length
    return codes


@lru_cache(maxsize=1 << 16)
def _reverse_bits(code: int, length: int) -> int:
    return int(f"{code:0{length}b}"[::-1], 2)


def _run_length_zeros(lengths: dict[int, int], size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the code length of each of `size` symbols, zeros for those that do not occur in runs.

    As (symbol of the lengths' own code, extra bits, number of extra bits).
    """
    first = 0  # symbol whose length has not been told
    for symbol in [*sorted(lengths), size]:
        num_left = symbol - first
        while num_left >= 3:
            zeros = min(num_left, 138)
            num_left -= zeros
            yield (REPEAT_ZERO_11, zeros - 11, 7) if zeros >= 11 else (REPEAT_ZERO_3, zeros - 3, 3)
        yield from repeat((0, 0, 0), num_left)
        if symbol < size:
            yield lengths[symbol], 0, 0
        first = symbol + 1


def _container(payload: bytes) -> bytes:
    """Wrap a lossless bitstream into a WebP file."""
    chunk = b"VP8L" + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _length_code_header() -> tuple[int, int]:
    """Return the bits that announce a normal prefix code and how its lengths are coded."""
    bits = Bits()
    bits.write(0, 1)
    bits.write(len(LENGTH_CODE_ORDER) - 4, 4)
    for symbol in LENGTH_CODE_ORDER:
        bits.write(LENGTH_CODE_BITS[symbol], 3)
    bits.write(0, 1)  # lengths follow for the whole alphabet
    return bits.value, bits.length


LENGTH_CODE_HEADER = _length_code_header()
LENGTH_CODES = _canonical_codes(
    {symbol: length for symbol, length in enumerate(LENGTH_CODE_BITS) if length}
)
