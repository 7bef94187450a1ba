"""Find joints of MPEG-TS recordings.

At a joint the packet counter restarts, but nothing is missing.

Source: ISO/IEC 13818-1, 2.4.3. Each packet begins with 0x47 and has a counter, modulo 16, of its
stream's packets with payload; a flag says that a picture begins in the packet.
"""

from typing import BinaryIO

SYNC = 0x47
LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes per packet, and offset of its first byte
MAX_BYTES = 16 << 20  # for the pictures on both sides of a joint


def is_joint(file: BinaryIO, pid: int, before: int, place: int) -> bool:
    """Return whether a stream's counter breaks at a place only.

    The range checked is from the picture that begins at `before` to the end of the one at `place`.
    The file's position is kept. Other formats than MPEG-TS have no joints.
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
    """Return where the counter breaks.

    The search ends at the end of the picture that begins at `place`.
    """
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
        if last is not None and count not in (last[0], (last[0] + 1) % 16):  # repeated, or next
            breaks.append(start if last[1] else last[2])  # a picture's last packet is padded
        last = count, padded, start
    return breaks
