"""Write films for the real-video benchmarks with FFmpeg's own generators."""

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter

RATE = 30


def write_film(path: Path, seed: int, *, seconds: float, size: str = "1280x720") -> Path:
    """Write an H.264 test card with grain, about 8 Mbit/s at 720p."""
    with av.open(path, "w") as container:
        options = {"crf": "23", "preset": "veryfast"}
        stream: Any = container.add_stream("libx264", rate=RATE, options=options)
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = map(int, size.split("x"))
        graph = av.filter.Graph()
        nodes = [
            graph.add("testsrc2", f"size={size}:rate={RATE}"),
            graph.add("noise", f"alls=6:allf=t:all_seed={seed}"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        for node, following in itertools.pairwise(nodes):
            node.link_to(following)
        graph.configure()
        for index in range(round(seconds * RATE)):
            picture = graph.vpull()
            picture.pts, picture.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write_list(folder: Path, num_rows: int) -> None:
    """Write a list of `num_rows` rows: repeated films, different prompts."""
    films = itertools.cycle(sorted(path.name for path in folder.glob("*.mp4")))
    names = list(itertools.islice(films, num_rows))
    (folder / "videos.txt").write_text("".join(f"{name}\n" for name in names))
    prompts = (f"film {name} in row {number}\n" for number, name in enumerate(names))
    (folder / "prompts.txt").write_text("".join(prompts))
