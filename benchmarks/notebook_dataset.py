"""Build data with the published notebook's own loop, unchanged."""

import os
import random
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

SHAPE_SIZE = 10
PROMPTS_AND_MOVEMENTS = [
    ("circle moving down", "circle", "down"),
    ("circle moving left", "circle", "left"),
    ("circle moving right", "circle", "right"),
    ("circle moving diagonally up-right", "circle", "diagonal_up_right"),
    ("circle moving diagonally down-left", "circle", "diagonal_down_left"),
    ("circle moving diagonally up-left", "circle", "diagonal_up_left"),
    ("circle moving diagonally down-right", "circle", "diagonal_down_right"),
    ("circle rotating clockwise", "circle", "rotate_clockwise"),
    ("circle rotating counter-clockwise", "circle", "rotate_counter_clockwise"),
    ("circle shrinking", "circle", "shrink"),
    ("circle expanding", "circle", "expand"),
    ("circle bouncing vertically", "circle", "bounce_vertical"),
    ("circle bouncing horizontally", "circle", "bounce_horizontal"),
    ("circle zigzagging vertically", "circle", "zigzag_vertical"),
    ("circle zigzagging horizontally", "circle", "zigzag_horizontal"),
    ("circle moving up-left", "circle", "up_left"),
    ("circle moving down-right", "circle", "down_right"),
    ("circle moving down-left", "circle", "down_left"),
]


def create_image_with_moving_shape(
    size: tuple[int, int], frame_num: int, shape: str, direction: str
) -> np.ndarray:
    """Draw one frame, as published."""
    img = Image.new("RGB", size, color=(255, 255, 255))
    draw = ImageDraw.Draw(img)
    center_x, center_y = size[0] // 2, size[1] // 2
    position = (center_x, center_y)
    white = (255, 255, 255)
    middle = (center_x, center_y)
    direction_map: dict[str, Any] = {
        "down": (0, frame_num * 5 % size[1]),
        "left": (-frame_num * 5 % size[0], 0),
        "right": (frame_num * 5 % size[0], 0),
        "diagonal_up_right": (frame_num * 5 % size[0], -frame_num * 5 % size[1]),
        "diagonal_down_left": (-frame_num * 5 % size[0], frame_num * 5 % size[1]),
        "diagonal_up_left": (-frame_num * 5 % size[0], -frame_num * 5 % size[1]),
        "diagonal_down_right": (frame_num * 5 % size[0], frame_num * 5 % size[1]),
        "rotate_clockwise": img.rotate(frame_num * 10 % 360, center=middle, fillcolor=white),
        "rotate_counter_clockwise": img.rotate(
            -frame_num * 10 % 360, center=middle, fillcolor=white
        ),
        "bounce_vertical": (0, center_y - abs(frame_num * 5 % size[1] - center_y)),
        "bounce_horizontal": (center_x - abs(frame_num * 5 % size[0] - center_x), 0),
        "zigzag_vertical": (0, center_y - frame_num * 5 % size[1])
        if frame_num % 2 == 0
        else (0, center_y + frame_num * 5 % size[1]),
        "zigzag_horizontal": (center_x - frame_num * 5 % size[0], center_y)
        if frame_num % 2 == 0
        else (center_x + frame_num * 5 % size[0], center_y),
        "up_right": (frame_num * 5 % size[0], -frame_num * 5 % size[1]),
        "up_left": (-frame_num * 5 % size[0], -frame_num * 5 % size[1]),
        "down_right": (frame_num * 5 % size[0], frame_num * 5 % size[1]),
        "down_left": (-frame_num * 5 % size[0], frame_num * 5 % size[1]),
    }
    if direction in direction_map:
        if isinstance(direction_map[direction], tuple):
            position = tuple(np.add(position, direction_map[direction]))
        else:
            img = direction_map[direction]
    if shape == "circle":
        half = SHAPE_SIZE // 2
        draw.ellipse(
            [position[0] - half, position[1] - half, position[0] + half, position[1] + half],
            fill=(0, 0, 255),
        )
    return np.array(img)


def write_dataset(folder, num_videos, frames_per_video=10, img_size=(64, 64)):
    """Write a folder per video: prompt.txt and PNG frames, as published."""
    for i in range(num_videos):
        prompt, shape, direction = random.choice(PROMPTS_AND_MOVEMENTS)
        video_dir = f"{folder}/video_{i}"
        os.makedirs(video_dir, exist_ok=True)
        with open(f"{video_dir}/prompt.txt", "w") as f:
            f.write(prompt)
        for frame_num in range(frames_per_video):
            img = create_image_with_moving_shape(img_size, frame_num, shape, direction)
            cv2.imwrite(f"{video_dir}/frame_{frame_num}.png", img)
