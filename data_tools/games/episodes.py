"""Divide the clips of a data set into episodes, and record them.

Loading a level costs as much as two clips, so each episode yields several. What a clip shows
therefore depends on the clips before it in its episode (lamps flicker, shots leave marks). A clip
is still a function of seed and index, because its whole episode (level, seed and clips) is one.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from t2vgan.data.shards import Geometry
from t2vgan.utils.seeds import derive_seed, permutation

from ..scenes.base import RenderedClips, clip_numbers
from .actions import ACTIONS, write_prompt
from .recorder import shared_recorder
from .recording import ClipOrder, EpisodeOrder, RecordedClip

CLIPS_PER_EPISODE = 20
EPISODES_PER_BLOCK = 5  # interleaved, so that neighbouring clips differ in level
CLIPS_PER_BLOCK = CLIPS_PER_EPISODE * EPISODES_PER_BLOCK


def record_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, name: str, levels: Sequence[str]
) -> RenderedClips:
    """Record clips by index; `name` is part of their seeds.

    Each block of ten clips, starting at a multiple of ten, shows every action once.
    """
    frames = np.empty((len(clip_indexes), *geometry.shape), np.uint8)
    prompts = [""] * len(frames)
    attributes: list[dict] = [{} for _ in prompts]
    places = {index: place for place, index in enumerate(clip_indexes)}
    for order, indexes in plan_episodes(clip_indexes, seed, geometry, name, levels):
        for index, clip in zip(indexes, shared_recorder().record(order), strict=True):
            place = places[index]
            action = action_of(index, seed, name)
            numbers = clip_numbers([index], seed, f"{name} prompts")[0]
            frames[place] = clip.frames
            prompts[place] = write_prompt(action, clip.place, numbers)
            attributes[place] = {"label": action, "action": action, "level": order.level}
            attributes[place] |= attributes_of(clip)
    return RenderedClips(frames, prompts, attributes)


def plan_episodes(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, name: str, levels: Sequence[str]
) -> Iterator[tuple[EpisodeOrder, list[int]]]:
    """Yield the episodes of the given clips, each with its wanted clips.

    An episode is played up to its last wanted clip.
    """
    wanted: dict[int, list[int]] = {}
    for index in sorted(clip_indexes):
        wanted.setdefault(episode_of(index), []).append(index)
    for episode, indexes in wanted.items():
        first = episode // EPISODES_PER_BLOCK * CLIPS_PER_BLOCK + episode % EPISODES_PER_BLOCK
        played = range(first, indexes[-1] + 1, EPISODES_PER_BLOCK)
        clips = tuple(
            ClipOrder(
                action_of(index, seed, name), derive_seed(seed, name, index), index in indexes
            )
            for index in played
        )
        tour, place = divmod(episode, len(levels))
        level = levels[permutation(len(levels), seed, f"{name} levels", tour)[place]]
        episode_seed = derive_seed(seed, f"{name} episodes", episode) % 2**31
        yield EpisodeOrder(level, episode_seed, clips, geometry), indexes


def episode_of(index: int) -> int:
    """Return the episode of a clip."""
    block, place = divmod(index, CLIPS_PER_BLOCK)
    return block * EPISODES_PER_BLOCK + place % EPISODES_PER_BLOCK


def action_of(index: int, seed: int, name: str) -> str:
    """Return the action of a clip."""
    group, place = divmod(index, len(ACTIONS))
    return list(ACTIONS)[permutation(len(ACTIONS), seed, f"{name} actions", group)[place]]


def attributes_of(clip: RecordedClip) -> dict:
    """Return the metadata of a recorded clip for its sample's json.

    Positions are in map units, angles in degrees counterclockwise.
    """
    (start_x, start_y, angle), (end_x, end_y, _) = clip.positions[[0, -1]].round(2).tolist()
    return {
        "place": clip.place,
        "start_x": start_x,
        "start_y": start_y,
        "start_angle": angle,
        "end_x": end_x,
        "end_y": end_y,
        "turn_per_tic": round(clip.turn, 4),
        "rejected": clip.rejected,
    }
