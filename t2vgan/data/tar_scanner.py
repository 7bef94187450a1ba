"""Step through a tar archive, and find its files and faults."""

import zlib
from typing import BinaryIO, NamedTuple

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
MAX_EXTENSION_BYTES = 1 << 16  # a long name or a PAX header
REGULAR_TYPES = b"0\x007"
EXTENSION_TYPES = b"xLK"  # describe the next member: PAX records, a long name, a long link
SKIPPED_TYPES = b"g5"  # PAX records for all members, folders
SEARCH_BYTES = 1 << 20
END_MARKER = 2 * BLOCK
RECORD = 20 * BLOCK  # most writers pad the archive to a multiple of it
MAX_FILLING_BYTES = 2048 * BLOCK + RECORD  # longest padding of writers with longer records
MAGIC, MAGIC_OFFSET = b"ustar", 257  # of POSIX and GNU; missing in archives from before 1988
ADLER_MODULUS = 65521  # the lower half of Adler-32 (RFC 1950) is the sum of the bytes modulo this


class TarMember(NamedTuple):
    """A regular file of an archive, and the location of its bytes."""

    name: str
    offset: int
    size: int


class BadMember(NamedTuple):
    """A member that cannot be used; reading can continue after it."""

    name: str
    problem: str


class LostPart(NamedTuple):
    """Bytes that belong to no member, or are missing at the end."""

    problem: str
    num_bytes: int
    open_ended: bool
    """Whether more may be missing: the full length of a truncated archive is unknown."""
    is_certain: bool = True
    """False for zeros at the end, which may be a hole or long padding."""


class DamagedTar(Exception):  # noqa: N818 (caught by both readers)
    """There is no valid member where one should be.

    At least `num_missing` bytes are missing at the end.
    """

    def __init__(self, problem: str, num_missing: int = 0):
        super().__init__(problem)
        self.num_missing = num_missing


class TarScanner:
    """Step through a seekable tar."""

    def __init__(self, file: BinaryIO, max_member_bytes: int):
        self._file, self._max_member_bytes = file, max_member_bytes
        self.total = file.seek(0, 2)
        self.position = 0
        """Offset of the next header."""
        self.ended = False
        self._marked = False  # whether the last thing found was an end marker

    def next(self) -> TarMember | BadMember | None:
        """Return the next file, or None at an end marker; raise DamagedTar."""
        name = size = None  # of the next member, from extension blocks before it
        problem = ""
        while (block := self._read_block()) != ZERO_BLOCK:
            kind, member = _parse_header(block, self.position)
            if kind not in EXTENSION_TYPES:
                name, size = name or member.name, member.size if size is None else size
                member = TarMember(name, member.offset, size)
            self._check_size(member)
            following = member.offset + -(-member.size // BLOCK) * BLOCK
            if kind in EXTENSION_TYPES:
                try:
                    name, size = self._read_extension(kind, member, name, size)
                except ValueError as error:
                    problem = problem or str(error)
            elif kind in SKIPPED_TYPES:
                name = size = None
            self.position, self._marked = following, False
            if kind not in EXTENSION_TYPES + SKIPPED_TYPES:
                problem = problem or _find_problem(kind, member.name)
                return BadMember(member.name, problem) if problem else member
        self.position, self._marked = self.position + BLOCK, True
        return None

    def skip_zeros(self) -> LostPart | None:
        """Skip to the next nonzero block, if any.

        Zeros that are not the end of an archive are a hole, such as that of a broken download.
        """
        start, rest = self.position, 0
        while self.position < self.total and not rest:
            self._file.seek(self.position)
            chunk = self._file.read(SEARCH_BYTES)
            rest = len(chunk.lstrip(b"\0"))
            self.position += (len(chunk) - rest) // BLOCK * BLOCK if rest else len(chunk)
        self.ended = not rest
        num_zeros = self.position - start
        filled_up = self.position == -(-(start + END_MARKER) // RECORD) * RECORD
        if filled_up or num_zeros == END_MARKER or (self.ended and num_zeros < END_MARKER):
            return None
        is_certain = not self.ended or num_zeros > MAX_FILLING_BYTES
        problem = f"{num_zeros} bytes from byte {start} on are zero"
        return LostPart(problem, num_zeros, open_ended=False, is_certain=is_certain)

    def skip_to_header(self, damage: DamagedTar) -> LostPart:
        """Skip to the next valid header, or to the end."""
        start, problem = self.position, str(damage)
        self.position = self._find_header(start + 1)
        self.ended = self.position == self.total
        if self._marked:
            what = f"{self.position - start} bytes after the end marker at byte {start} are no tar"
            return LostPart(what, self.position - start, open_ended=False)
        if self.ended and damage.num_missing:
            return LostPart(problem, damage.num_missing, open_ended=True)
        return LostPart(problem, self.position - start, open_ended=False)

    def _read_block(self) -> bytes:
        """Read a header, or the first block of the end marker."""
        self._file.seek(self.position)
        block = self._file.read(BLOCK)
        if len(block) < BLOCK or (block == ZERO_BLOCK and len(self._file.read(BLOCK)) < BLOCK):
            where = f"the tar has no end marker at byte {self.position}"
            raise DamagedTar(f"truncated: {where}", num_missing=END_MARKER)
        return block

    def _check_size(self, member: TarMember) -> None:
        if not 0 <= member.size <= self._max_member_bytes:
            limit = self._max_member_bytes
            raise DamagedTar(f"{member.name!r} claims {member.size} bytes, limit {limit}")
        if member.offset + member.size > self.total:
            num_found = max(0, self.total - member.offset)
            raise DamagedTar(
                f"truncated inside {member.name!r}: "
                f"{member.size} bytes expected, {num_found} found",
                num_missing=member.size - num_found,
            )

    def _read_extension(
        self, kind: bytes, member: TarMember, name: str | None, size: int | None
    ) -> tuple[str | None, int | None]:
        """Return the next member's name and size, or raise ValueError."""
        if member.size > MAX_EXTENSION_BYTES:
            raise ValueError(f"has a header of {member.size} bytes, limit {MAX_EXTENSION_BYTES}")
        data = self._file.read(member.size)
        if kind == b"x":
            return _parse_pax(data, name, size)
        return (_decode(data.rstrip(b"\0")), size) if kind == b"L" else (name, size)

    def _find_header(self, start: int) -> int:
        """Return the offset of the next valid header, else the total."""
        while start < self.total:
            self._file.seek(start)
            chunk = self._file.read(SEARCH_BYTES)
            place = chunk.find(MAGIC, MAGIC_OFFSET)
            while place >= 0:
                first = place - MAGIC_OFFSET
                if _is_header(chunk[first : first + BLOCK]):
                    return start + first
                place = chunk.find(MAGIC, place + 1)
            if start + len(chunk) >= self.total:
                break
            start += len(chunk) - BLOCK + 1
        return self.total


def _is_header(block: bytes) -> bool:
    try:
        return len(block) == BLOCK and _parse_header(block, 0)[1].size >= 0
    except DamagedTar:
        return False


def _parse_header(block: bytes, position: int) -> tuple[bytes, TarMember]:
    """Check a header block's checksum; return its type flag and member."""
    try:
        expected = int(block[148:156].split(b"\0", 1)[0], 8)
        size = _parse_size(block[124:136])
    except ValueError:
        raise DamagedTar(f"no tar header at byte {position}") from None
    if (_byte_sum(block) - _byte_sum(block[148:156]) + 8 * ord(" ") - expected) % ADLER_MODULUS:
        raise DamagedTar(f"damaged tar header at byte {position} (checksum)")
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return block[156:157], TarMember(_decode(name), position + BLOCK, size)


def _parse_size(field: bytes) -> int:
    """Parse octal digits, or base 256 (GNU, above 8 GB)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _byte_sum(block: bytes) -> int:
    """Sum bytes modulo ADLER_MODULUS, much faster than `sum`."""
    return zlib.adler32(block, 0) & 0xFFFF


def _parse_pax(data: bytes, name: str | None, size: int | None) -> tuple[str | None, int | None]:
    """Return the name and size of PAX records ("27 path=some/long/name\\n").

    Raises ValueError, whose message is about the following member.
    """
    while data:
        digits, blank, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and blank else 0
        record, data = data[:length], data[length:]
        keyword, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) < max(length, 5) or record[-1:] != b"\n" or not equals:
            raise ValueError("has a damaged PAX header")
        if keyword == b"path":
            name = _decode(value)
        elif keyword == b"size":
            if not value.isdigit():
                raise ValueError("has a damaged PAX header")
            size = int(value)
        elif keyword.startswith(b"GNU.sparse"):
            raise ValueError("is stored sparsely, which is not supported")
    return name, size


def _find_problem(kind: bytes, name: str) -> str:
    """Return why a member cannot be used, else ""."""
    if kind not in REGULAR_TYPES:
        return f"is no regular file (tar type {kind!r})"
    if name.startswith("/") or ".." in name.split("/"):
        return "is a name that leads out of the archive"
    return ""


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
