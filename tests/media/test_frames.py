"""Load the films of others as players show them."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from t2vgan.media import load_clip, load_frame_folder
from t2vgan.media.cropping import Cropping
from t2vgan.media.frames import Orientation, orientation_of, rgb_of
from t2vgan.media.movies import decode_clip
from tests.support.filming import Film, write_film
from tests.support.source_videos import ORIENTATIONS, clips_of, corners, quarters


@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_a_clip_of_others_is_turned_and_mirrored(tmp_path, rotation, mirrored):
    film = Film(rotation=rotation, mirrored=mirrored)
    path = write_film(tmp_path / "a.mp4", [quarters(32, 48)] * 3, film)
    sides = (32, 48) if rotation % 180 == 0 else (48, 32)
    frames = load_clip(path)
    assert frames.shape == (3, *sides, 3)
    assert corners(frames[0]) == ORIENTATIONS[rotation, mirrored]
    data = path.read_bytes()
    np.testing.assert_array_equal(decode_clip(data, "mp4", frames.shape), frames)
    if rotation % 180:
        with pytest.raises(ValueError, match="video is 32x48 pixels as shown, expected 48x32"):
            decode_clip(data, "mp4", (3, 32, 48, 3))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 0, 0, 0), Orientation()),
        ((-1, 0, 0, 0), Orientation()),  # it would show a line
        ((2, 0, 0, -2), Orientation(upside_down=True)),
        ((-0.9, 0.1, 0.1, 0.9), Orientation(mirrored=True)),
        ((0.1, 0.9, 0.9, 0.1), Orientation(transposed=True)),
    ],
)
def test_any_matrix_is_the_nearest_orientation(tmp_path, matrix, expected):
    a, b, c, d = (round(65536 * value) for value in matrix)
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        frame = av.VideoFrame.from_ndarray(quarters(32, 48), "rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(path) as container:
        (frame,) = container.decode(video=0)
        assert orientation_of(frame) == expected


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparency_beside_the_picture_is_laid_on_black(tmp_path, codec):
    """The right half is red and cannot be seen."""
    picture = np.full((64, 64, 4), (255, 0, 0, 255), np.uint8)
    picture[:, 32:, 3] = 0
    film = Film(codec, "yuva420p", options={"crf": "4", "b": "2M", "auto-alt-ref": "0"})
    (frames,) = clips_of(write_film(tmp_path / "a.webm", [picture] * 8, film))
    assert frames[:, :, :14, 0].min() > 240
    assert frames[:, :, 18:].max() < 16


@pytest.mark.parametrize("name", ["a.webp", "a.gif", "0.png"])
def test_transparent_pictures_are_laid_on_black(tmp_path, name):
    """As a film of the same pictures is packed."""
    rgba = np.full((16, 16, 4), (255, 0, 0, 255), np.uint8)
    rgba[:, 8:, 3] = 0
    pictures = [Image.fromarray(np.roll(rgba, 4 * i, axis=0)) for i in range(2)]
    animated = {} if name == "0.png" else {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(tmp_path / name, **animated, **{"lossless": True} if "webp" in name else {})
    frames = load_frame_folder(tmp_path) if name == "0.png" else load_clip(tmp_path / name)
    assert frames[:, :, :8, 0].min() > 250
    assert frames[:, :, 8:].max() == 0


@pytest.mark.parametrize(("rotation", "sides"), [(0, (32, 44)), (90, (44, 32))])
def test_what_a_container_crops_is_not_shown(tmp_path, rotation, sides):
    """Read the clean aperture of MP4 and the PixelCrop of Matroska."""
    picture = np.full((48, 64, 3), 128, np.uint8)  # grey: 4 rows, 12, 14 columns, 6
    picture[4:36, 14:58] = quarters(32, 44)
    path = tmp_path / "a.mp4"
    write_film(path, [picture] * 8, Film("libx264", "yuv444p", rotation=rotation))
    path.write_bytes(with_clean_aperture(path.read_bytes(), width=44, height=32, right=4, down=-4))
    frames = load_clip(path)
    assert frames.shape == (8, *sides, 3)
    assert corners(frames[0]) == ORIENTATIONS[rotation, False]
    np.testing.assert_array_equal(decode_clip(path.read_bytes(), "mp4", frames.shape), frames)
    with av.open(path) as film, av.open(tmp_path / "a.mkv", "w") as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    for name in ("a.mp4", "a.mkv"):
        (packed,) = clips_of(tmp_path / name)
        assert corners(packed[0]) == ORIENTATIONS[rotation, False]
        assert not (np.abs(packed[0][0].astype(int) - 128) < 20).all(axis=1).any(), (
            "no grey is left"
        )


def with_clean_aperture(data: bytes, *, width: int, height: int, right: int, down: int) -> bytes:
    """Add a `clap` box to an MP4 file.

    Its header comes last, so that nothing else moves."""
    fields = struct.pack(">8i", width, 1, height, 1, right, 1, down, 1)
    box = struct.pack(">I", 8 + len(fields)) + b"clap" + fields
    patched = bytearray(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(name, data.index(b"moov")) - 4
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", patched, place, size + len(box))
        end = place + size
    return bytes(patched[:end] + box + patched[end:])


def filtered(path: Path, filters: str) -> np.ndarray:
    """Return the first frame as FFmpeg's filters convert it.

    (H, W, 3) uint8."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        chain = [graph.add_buffer(template=stream)]
        for text in (*filters.split(","), "format=rgb24"):
            name, _, arguments = text.partition("=")
            chain.append(graph.add(name, arguments or None))
        chain.append(graph.add("buffersink"))
        graph.link_nodes(*chain).configure()
        graph.push(next(container.decode(stream)))
        return graph.pull().to_ndarray()


YUV = [
    f"yuv{kind}{bits}"
    for kind in ("420p", "422p", "444p")
    for bits in ("", "9le", "10le", "12le", "14le", "16le")
]
ALPHA = [f"yuva{kind}{bits}" for kind in ("420p", "422p", "444p") for bits in ("", "10le", "16le")]
GREY = [f"gray{bits}" for bits in ("", "9le", "10le", "12le", "16le")]
RGB = [f"gbrp{bits}" for bits in ("9le", "10le", "12le", "14le", "16le")]
OTHERS = ["yuv410p", "yuv411p", "yuv440p", "yuv440p10le", "bgr0", "bgra", "gbrap10le", "gbrap16le"]


@pytest.mark.parametrize("pix_fmt", YUV + ALPHA + GREY + RGB + OTHERS)
def test_a_pixel_format_looks_as_ffmpeg_converts_it(tmp_path, pix_fmt):
    rows, columns = np.mgrid[:48, :64].astype(np.uint8)
    picture = np.stack([4 * columns, 5 * rows, 255 - 2 * rows - 2 * columns], axis=2)
    path = write_film(tmp_path / "a.mkv", [picture], Film("ffv1", pix_fmt, options={}))
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == pix_fmt
        found = rgb_of(frame, Cropping())
    expected = filtered(path, "scale=flags=bilinear:out_range=pc")
    assert np.abs(found.astype(int) - expected).max() <= 2
