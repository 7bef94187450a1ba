"""Draw captioned videos to try the tools: `python -m data_tools.demo_videos --out DIR`.

FFmpeg's own generators draw them, so nothing is downloaded. They vary as users' videos do, in
container, codec, size, frame rate and rotation.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

SECONDS = 3
RULES = {"triangles": 18, "chaos": 30, "stripes": 184, "fans": 110, "lace": 90}
COLOURS = {"red": "0xe02020", "green": "0x20c040", "blue": "0x3060f0", "yellow": "0xf0d020"}
SIZES = ("160x120", "128x128", "120x160", "192x108", "162x90")
RATES = (10, 15, 24, 25, 30)
CONTAINERS = (
    ("mp4", "libx264", "yuv420p", {"crf": "18", "preset": "veryfast", "mbtree": "0"}),
    ("mkv", "libx264", "yuv420p10le", {"crf": "18", "preset": "veryfast", "mbtree": "0"}),
    ("mov", "mpeg4", "yuv420p", {"qmin": "2", "qmax": "4"}),
    (
        "webm",
        "libvpx",
        "yuv420p",
        {"crf": "10", "b": "1M", "cpu-used": "8", "deadline": "realtime"},
    ),
)


@dataclass(frozen=True)
class DemoVideo:
    """A caption and the filters that draw it, with per-video values."""

    caption: str
    filters: tuple[tuple[str, str], ...]


def list_videos() -> list[DemoVideo]:
    """Return all 25 kinds of video."""
    found = [
        DemoVideo("a test card with a moving rainbow square", (("testsrc2", "{canvas}"),)),
        DemoVideo("a fractal zooming in", (("mandelbrot", "{canvas}:start_scale={scale}"),)),
        DemoVideo(
            "a carpet of triangles drifting",
            (("sierpinski", "{canvas}:type=triangle:seed={seed}"),),
        ),
        DemoVideo(
            "a carpet of squares drifting", (("sierpinski", "{canvas}:type=carpet:seed={seed}"),)
        ),
    ]
    for name, colour in COLOURS.items():
        life = f"{{canvas}}:life_color={colour}:mold_color=black:random_seed={{seed}}:ratio=0.3"
        found.append(
            DemoVideo(f"{name} cells living and dying", (("life", life), ("format", "rgb24")))
        )
        for speed, value in (("slowly", 0.005), ("fast", 0.05)):
            gradient = f"{{canvas}}:c0={colour}:c1=black:nb_colors=2:speed={value}:seed={{seed}}"
            found.append(
                DemoVideo(f"a {name} gradient turning {speed}", (("gradients", gradient),))
            )
        rings = f"{{canvas}}:c0={colour}:c1=black:type=radial:nb_colors=2:seed={{seed}}"
        found.append(DemoVideo(f"a {name} glow in the dark", (("gradients", rings),)))
    for kind, rule in RULES.items():
        automaton = f"{{canvas}}:rule={rule}:random_seed={{seed}}:scroll=1"
        caption = f"a cell automaton of {kind} scrolling up"
        found.append(DemoVideo(caption, (("cellauto", automaton), ("format", "gray"))))
    return found


def main() -> None:
    """Run the command."""
    cli.call(demo_videos)


def demo_videos(out: Path, num_videos: int = 300) -> None:
    """Draw captioned three-second videos, and three unusable files.

    Args:
        out: Output folder; each video, such as NAME.mp4, has its caption in NAME.txt.
        num_videos: Number of videos.
    """
    from tqdm import tqdm

    if num_videos < 1:
        raise UserError(f"--num-videos {num_videos}: must be at least 1")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    endless = itertools.cycle(list_videos())
    for number, video in tqdm(
        zip(range(num_videos), endless, strict=False), "creating", num_videos, unit=" videos"
    ):
        draw(out, number, video)
        (out / f"{number:04d}.txt").write_text(f"{video.caption}\n")
    (out / "cut-off.mp4").write_bytes((out / "0000.mp4").read_bytes()[:2000])
    (out / "cut-off.txt").write_text("a video cut off\n")
    (out / "no-video.mp4").write_text("this is no video\n")
    (out / "no-video.txt").write_text("words\n")
    (out / "no-caption.mp4").write_bytes((out / "0000.mp4").read_bytes())
    print_stdout(f"{out}: {num_videos} captioned videos, and three files that cannot be used")


def draw(folder: Path, number: int, video: DemoVideo) -> Path:
    """Write one video; its number selects container, size and frame rate."""
    import av

    suffix, codec, pix_fmt, options = CONTAINERS[number % len(CONTAINERS)]
    rate = RATES[number // 3 % len(RATES)]
    path = folder / f"{number:04d}.{suffix}"
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        if number % 11 == 0:
            stream.set_display_rotation(90)
        for index, frame in enumerate(_pictures(video, number, rate)):
            if index == 0:
                stream.height, stream.width = frame.height, frame.width
            picture = frame.reformat(format=pix_fmt, threads=1)
            picture.pts, picture.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _pictures(video: DemoVideo, number: int, rate: int) -> "Iterator[av.VideoFrame]":
    """Yield the frames that the filters draw."""
    import av.filter

    size = SIZES[number // 2 % len(SIZES)]
    values = {
        "canvas": f"size={size}:rate={rate}",
        "seed": number + 1,
        "scale": 3.0 / (1 + number % 7),
    }
    graph = av.filter.Graph()
    nodes = [graph.add(name, text.format(**values)) for name, text in video.filters]
    nodes.append(graph.add("buffersink"))
    for node, following in itertools.pairwise(nodes):
        node.link_to(following)
    graph.configure()
    for _ in range(SECONDS * rate):
        yield graph.vpull()


if __name__ == "__main__":
    cli.run(main)
