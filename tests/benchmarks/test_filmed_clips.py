"""Films become clips of one length and size."""

import gzip
import random

import numpy as np

from benchmarks.filmed_clips import RATE, SECONDS, SIDE, cut, decode
from t2vgan.media.movies import encode_movie

LENGTH = round(SECONDS * RATE)


def test_a_short_film_is_slowed_down_and_a_long_one_is_not(tmp_path):
    levels = np.arange(0, 200, 10, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (20, 32, 48, 3))
    path = tmp_path / "film.mp4.gz"
    path.write_bytes(gzip.compress(encode_movie(frames, format="mp4", fps=RATE)))
    slow = decode(path)
    assert slow.shape == (LENGTH, 32, 48, 3)
    shown = levels[np.arange(LENGTH) * 20 // LENGTH]
    assert np.abs(slow.mean((1, 2, 3)) - shown).max() < 3
    path.write_bytes(
        gzip.compress(encode_movie(np.repeat(frames, 4, 0), format="mp4", fps=2 * RATE))
    )
    assert len(decode(path)) == 40


def test_clips_are_windows_of_a_film_or_mirrored():
    rows, columns = np.mgrid[:96, :120]
    film = np.stack(
        [np.stack([np.full_like(rows, t), rows, columns], -1) for t in range(60)]
    ).astype(np.uint8)
    generator, signs = random.Random(0), set()
    for _ in range(8):
        clip = cut(film, generator)
        assert clip.shape == (LENGTH, SIDE, SIDE, 3)
        assert (np.diff(clip[:, 0, 0, 0].astype(int)) == 1).all()
        assert clip[0, -1, 0, 1] - clip[0, 0, 0, 1] >= 0.7 * 96
        signs.add(np.sign(int(clip[0, 0, -1, 2]) - int(clip[0, 0, 0, 2])))
    assert signs == {-1, 1}
