"""Find joints of MPEG-TS recordings.

There nothing is missing, though the packets are counted anew.

Source: ISO/IEC 13818-1, 2.4.3. Each packet begins with 0x47 and counts those of its stream that
carry bytes, modulo 16; a flag says that a picture begins in it.
"""

from typing import BinaryIO

SYNC = 0x47
LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and where in them it begins
MAX_BYTES = 16 << 20  # of the pictures on both sides of a joint


def is_joint(file: BinaryIO, pid: int, before: int, place: int) -> bool:
    """Return whether a stream's count breaks at a place and nowhere near.

    From the picture that begins at `before` to the end of the one at `place`. The file's position
    stays. What is no MPEG-TS has no joints.
    """
    position = file.tell()
    file.seek(before)
    data = file.read(MAX_BYTES)
    file.seek(position)
    for size, first in LAYOUTS:
        if data[first : first + 1] == data[first + size : first + size + 1] == bytes([SYNC]):
            return _find_breaks(data[first:], size, pid, place - before) == [place - before]
    return False


def _find_breaks(data: bytes, size: int, pid: int, place: int) -> list[int]:
    """Return where the count breaks.

    It is followed up to the end of the picture that begins at `place`."""
    breaks: list[int] = []
    last: tuple[int, int, int] | None = None
    for start in range(0, len(data) - 3, size):
        flags, low, control = data[start + 1 : start + 4]
        begins, padded = flags & 0x40, control & 0x20
        has_bytes, count = control & 0x10, control & 0x0F
        if (flags & 0x1F) << 8 | low != pid or not has_bytes:
            continue
        if begins and start > place:
            return breaks
        if last is not None and count not in (last[0], (last[0] + 1) % 16):  # sent twice, or next
            breaks.append(start if last[1] else last[2])  # a picture's last packet is padded
        last = count, padded, start
    return breaks
