"""Clips for the tests of media: circles over white, and noise."""

import cv2
import numpy as np

WHITE, BLUE, RED = (255, 255, 255), (0, 0, 255), (255, 0, 0)


MOVIES = ("mp4", "avi")


ANIMATIONS = ("gif", "webp")


def circles(num_frames=10, height=64, width=64, colour=BLUE):
    """A soft-edged circle that moves right over white, like our scenes."""
    frames = np.full((num_frames, height, width, 3), WHITE, dtype=np.uint8)
    for index, picture in enumerate(frames):
        centre = (width // 4 + index * width // (2 * num_frames), height // 2)
        cv2.circle(picture, centre, height // 6, colour, thickness=-1, lineType=cv2.LINE_AA)
    return frames


def noise(num_frames=4, height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (num_frames, height, width, 3), dtype=np.uint8
    )


def psnr(a, b):
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf
