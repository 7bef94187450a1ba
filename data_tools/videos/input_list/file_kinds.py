"""Recognise videos, and files that operating systems create."""

VIDEO_NAMES = """
    mp4 m4v mp4v mov qt mkv webm avi divx mpg mpeg mpe m1v m2v vob m2ts mts m2t ts flv f4v wmv asf
    gif ogv ogm 3gp 3g2 mxf wtv
"""
OTHER_NAMES = """
    txt json jsonl csv tsv parquet srt vtt md html xml yaml yml toml py log sha256 md5 tar gz zip
    jpg jpeg png webp bmp tif tiff heic heif avif svg pdf mp3 m4a wav flac aac opus wma oga
    npy npz pt pth pyd pkl safetensors
"""
VIDEO_EXTENSIONS = frozenset(VIDEO_NAMES.split())
OTHER_EXTENSIONS = frozenset(OTHER_NAMES.split())  # never opened to look for a video
SYSTEM_FOLDERS = frozenset(
    ("__macosx", "$recycle.bin", "@eadir", "lost+found", "system volume information")
)
HEAD_BYTES = 1 << 16  # searched for a signature

# (offset, signature there, bytes that must follow somewhere, or none). Matroska, Ogg and ASF may
# hold only sound, so the mark of a video stream must follow.
SIGNATURES = (
    (4, b"ftyp", b""),  # MP4, QuickTime, 3GP
    *((4, box, b"") for box in (b"moov", b"mdat", b"wide")),  # QuickTime from before 2001
    (0, b"\x1a\x45\xdf\xa3", b"V_"),  # Matroska, WebM
    (0, b"RIFF", b"AVI "),
    (0, b"FLV\x01", b""),
    (0, b"OggS", b"theora"),
    (0, bytes.fromhex("3026b2758e66cf11"), bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")),
    (0, b"\x00\x00\x01\xba", b""),  # MPEG programme stream
    (0, b"\x00\x00\x01\xb3", b""),  # MPEG video without a container
    (0, bytes.fromhex("b7d800203749da11a64e0007e95ead8d"), b""),  # Windows Recorded TV Show
    (0, b"GIF8", b""),
)
MXF_PARTITION = bytes.fromhex("060e2b34020501010d010201")  # after up to 64 KB of other bytes
STILL_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"crx ", b"M4A ", b"M4B ")
SYNC_BYTE, PACKETS_COMPARED = 0x47, 5  # in transport streams


def extension_of(name: str) -> str:
    """Return a file name's extension in lower case, without the dot."""
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return extension.lower() if stem and dot else ""


def has_video_extension(name: str) -> bool:
    """Return whether a file name has the extension of a video."""
    return extension_of(name) in VIDEO_EXTENSIONS


def may_be_video(name: str) -> bool:
    """Return whether a file's first bytes are worth checking."""
    extension = extension_of(name)
    return extension not in VIDEO_EXTENSIONS and extension not in OTHER_EXTENSIONS


def is_video(head: bytes) -> bool:
    """Return whether a file is a video, judging by its first bytes."""
    if head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS:
        return False
    return (
        any(head.startswith(mark, offset) and stream in head for offset, mark, stream in SIGNATURES)
        or MXF_PARTITION in head
        or _is_transport_stream(head, offset=0, length=188)
        or _is_transport_stream(head, offset=4, length=192)  # from cameras, with timestamps
    )


def _is_transport_stream(head: bytes, *, offset: int, length: int) -> bool:
    marks = head[offset : offset + PACKETS_COMPARED * length : length]
    return marks == bytes([SYNC_BYTE]) * PACKETS_COMPARED


def find_reason_to_ignore(path: str) -> str:
    """Return why a path is ignored, or an empty string."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    if any(part.startswith("._") for part in parts[-1:]):
        return "attributes of another file, written by macOS (AppleDouble)"
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if any(part.lower() in SYSTEM_FOLDERS for part in parts[:-1]):
        return "in a system folder"
    return ""
