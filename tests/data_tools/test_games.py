"""Reading levels, free starts, captions and rejected clips."""

from collections import Counter

import numpy as np
import pytest

from data_tools.build.protocol import add_rejected, parse_rejected
from data_tools.games.actions import ACTIONS, PLACE_PHRASES, predict_path, write_prompt
from data_tools.games.episodes import CLIPS_PER_BLOCK, plan_episodes
from data_tools.games.free_space import REACH, FreeSpace
from data_tools.games.level import PLACES, read_level
from data_tools.games.recording import (
    TICS_PER_FRAME,
    WARMUP_TICS,
    Rejected,
    check_motion,
    check_picture,
)
from data_tools.scenes.actions import HELD_OUT_LEVELS, LEVELS
from t2vgan.data.shards import EncodedSample, Geometry
from t2vgan.errors import UserError
from t2vgan.utils.seeds import random_generator
from tests.support.levels import write_two_rooms

GEOMETRY = Geometry(num_frames=16, height=32, width=32)
STILL = np.zeros((1, 2))


# ---- levels ------------------------------------------------------------------------------------


def rooms(folder, **changes):
    return read_level(write_two_rooms(folder / "rooms.wad", **changes), "MAP01")


def test_a_point_has_the_sector_of_its_room(tmp_path):
    level = rooms(tmp_path, right_light=200)
    assert level.sector_at(300, 900)["ceiling_flat"] == b"F_SKY1"
    assert level.sector_at(1700, 20)["light"] == 200


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"texture": "BRICK7"}, "brick"),
        ({"texture": "MARBFACE"}, "marble"),
        ({"texture": "UNKNOWN"}, None),
        ({"texture": "BRICK7", "right_light": 112}, "dark"),
    ],
)
def test_a_place_is_named_by_sky_then_light_then_walls(tmp_path, changes, place):
    level = rooms(tmp_path, **changes)
    assert level.place_at(1700, 512, 0.0) == place
    assert level.place_at(300, 512, 0.0) == "sky"


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, False),
        ({"step": 24}, False),
        ({"step": 25}, True),
        ({"step": 80}, True),
        ({"special": 97}, True),
        ({"right_special": 9}, True),
    ],
)
def test_walls_steps_triggers_and_harm_block(tmp_path, changes, blocks):
    blocking = rooms(tmp_path, **changes).blocking_lines()
    assert blocking[:-1].all(), "walls always"
    assert blocking[-1] == blocks


def test_other_files_and_levels_are_one_line(tmp_path):
    path = write_two_rooms(tmp_path / "rooms.wad")
    with pytest.raises(UserError, match="no level MAP02"):
        read_level(path, "MAP02")
    path.write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(UserError, match="not a WAD file"):
        read_level(path, "MAP01")


# ---- free starts -------------------------------------------------------------------------------


def test_clearance_is_the_distance_from_walls_and_things_not_from_monsters(tmp_path):
    space = FreeSpace(rooms(tmp_path, lamp=(400, 512)))
    points = np.array([(700, 200), (1024, 512), (1536, 512), (400, 512), (500, 512), (-90, 0)])
    expected = [200, 512, 512, 0, 100 - 24, 0]
    np.testing.assert_allclose(space.clearance_at(points.astype(float)), expected, atol=16)


def test_regions_without_things_or_with_harm_are_not_entered(tmp_path):
    space = FreeSpace(rooms(tmp_path, right_special=7))
    points = np.array([(512.0, 512.0), (1536.0, 512.0)])
    np.testing.assert_allclose(space.clearance_at(points), [512, 0], atol=16)


@pytest.mark.parametrize("name", ["forward", "backward", "strafe_left", "curve_right"])
def test_a_chosen_start_has_room_for_the_whole_path(tmp_path, name):
    action = ACTIONS[name]
    path, _ = predict_path(action, np.mean(action.turn_range), 53)
    space = FreeSpace(rooms(tmp_path, special=97, lamp=(400, 512)))
    for number in range(30):
        start = space.choose_start(path, random_generator("start", number))
        assert start is not None
        angle = np.radians(start.angle)
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        points = (start.x, start.y) + path @ rotation
        distance = np.abs(points - np.round(points / 1024) * 1024).min()  # from walls and middle
        assert distance > REACH - 16
        assert np.linalg.norm(points - (400, 512), axis=1).min() > REACH


def test_no_start_where_no_path_fits_or_all_is_dark(tmp_path):
    space = FreeSpace(rooms(tmp_path, special=97))
    far = np.stack([np.arange(0.0, 1500, 25), np.zeros(60)], axis=1)
    assert space.choose_start(far, random_generator(0)) is None
    space = FreeSpace(rooms(tmp_path, right_light=80))
    starts = [space.choose_start(STILL.repeat(2, 0), random_generator(n)) for n in range(40)]
    assert all(start is not None and start.x < 1024 for start in starts)


# ---- actions and captions ----------------------------------------------------------------------


def test_every_phrase_belongs_to_one_action_and_names_its_side():
    phrases = Counter(phrase for action in ACTIONS.values() for phrase in action.phrases)
    assert max(phrases.values()) == 1
    assert len(ACTIONS) == 10
    for name, action in ACTIONS.items():
        assert len(action.phrases) == 4
        for phrase in action.phrases:
            side = {"left", "right"} & set(phrase.split())
            assert side == {"left", "right"} & set(name.split("_"))


def test_prompts_are_phrases_with_or_without_a_place():
    assert PLACE_PHRASES.keys() == set(PLACES)
    assert write_prompt("still", "sky", np.array([0, 0, 0.0])) == "standing still outside"
    assert write_prompt("still", "sky", np.array([0.99, 0, 0.99])) == "pausing under the open sky"
    assert write_prompt("still", "sky", np.array([0, 0.9, 0.0])) == "standing still"
    assert write_prompt("still", None, np.array([0, 0, 0.0])) == "standing still"


def test_predicted_speed_is_thrust_over_friction():
    path, angles = predict_path(ACTIONS["forward"], 0.0, 200)
    assert path[-1, 0] - path[-2, 0] == pytest.approx(0.78125 / (1 - 0.90625))
    assert (path[:, 1] == 0).all()
    path, angles = predict_path(ACTIONS["curve_left"], 2.0, 200)
    assert angles[-1] == 400
    radius = 0.78125 / (1 - 0.90625) / np.radians(2)  # of the circle, if friction were quick
    assert np.ptp(path[60:, 1]) == pytest.approx(2 * radius, rel=0.1)


# ---- what counts as a clip ---------------------------------------------------------------------


def recorded(name, *, turn=None, start_angle=70.0):
    """Return the positions of a clip that goes exactly as predicted."""
    action = ACTIONS[name]
    turn = np.mean(action.turn_range) if turn is None else turn
    path, angles = predict_path(action, turn, WARMUP_TICS + 15 * TICS_PER_FRAME)
    radians = np.radians(start_angle)
    rotation = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    positions = np.concatenate([path @ rotation, (start_angle + angles[:, None]) % 360], axis=1)
    return positions[WARMUP_TICS::TICS_PER_FRAME], turn


def reason_of(name, positions, turn):
    try:
        check_motion(ACTIONS[name], turn, positions)
    except Rejected as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ACTIONS)
def test_a_clip_shows_its_action_and_no_other_motion(name):
    positions, turn = recorded(name)
    assert reason_of(name, positions, turn) is None
    alike = {"still", "shoot"}
    for other in set(ACTIONS) - {name} - (alike if name in alike else set()):
        assert reason_of(other, positions, recorded(other)[1]) is not None, other


def test_what_a_wall_or_a_teleporter_does_is_named():
    positions, turn = recorded("forward")
    stuck = positions.copy()
    stuck[8:, :2] = stuck[8, :2]
    assert reason_of("forward", stuck, turn) == "stuck"
    jumped = positions.copy()
    jumped[8:, :2] += 500
    assert reason_of("forward", jumped, turn) == "jumped"
    standing, turn = recorded("still")
    standing[:, 0] += np.linspace(0, 20, 16)
    assert reason_of("still", standing, turn) == "pushed"
    slid, turn = recorded("forward", start_angle=0.0)
    slid[:, 1] += np.arange(16) * 15
    assert reason_of("forward", slid, turn) == "pushed aside"
    half, turn = recorded("turn_left")
    assert reason_of("turn_left", half, turn * 0.8) == "turned otherwise"


def test_dark_and_plain_pictures_are_rejected():
    picture = random_generator(0).integers(0, 120, (240, 320, 3)).astype(np.uint8)
    check_picture(picture)
    with pytest.raises(Rejected, match="dark"):
        check_picture(picture // 8)
    with pytest.raises(Rejected, match="low contrast"):
        check_picture(np.full_like(picture, 90))


# ---- episodes ----------------------------------------------------------------------------------


def planned(indexes, levels=LEVELS):
    return list(plan_episodes(indexes, 3, GEOMETRY, "actions", levels))


def test_levels_of_the_two_scenes_differ():
    assert not set(LEVELS) & set(HELD_OUT_LEVELS)
    assert len({*LEVELS, *HELD_OUT_LEVELS}) == 31


def test_every_ten_clips_hold_each_action_once():
    found = {}
    for order, indexes in planned(range(230)):
        wanted = [clip.action for clip in order.clips if clip.wanted]
        found |= dict(zip(indexes, wanted, strict=True))
    for first in range(0, 230, 10):
        assert {found[index] for index in range(first, first + 10)} == set(ACTIONS)


def test_each_tour_visits_every_level_once():
    levels = [order.level for order, _ in planned(range(5 * CLIPS_PER_BLOCK))]
    assert len(levels) == 25
    assert set(levels[:23]) == set(LEVELS)


def test_a_clip_is_played_after_the_same_clips_whatever_is_asked():
    whole = {tuple(indexes): order for order, indexes in planned(range(200))}
    for index in (0, 7, 99, 143):
        ((order, indexes),) = planned([index])
        assert indexes == [index]
        ((_, full),) = [(i, o) for i, o in whole.items() if index in i]
        assert (order.level, order.seed) == (full.level, full.seed)
        played = [(clip.action, clip.seed) for clip in order.clips]
        assert played == [(clip.action, clip.seed) for clip in full.clips][: len(played)]
        assert [clip.wanted for clip in order.clips] == [False] * (len(played) - 1) + [True]


# ---- the account -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (b'{"rejected":{"dark":2}}', {"dark": 2}),
        (b'{"rejected":{}}', {}),
        (b'{"rejected":"no"}', None),
        (b'{"rejected":{"dark":true}}', None),
        (b"{}", None),
        (b"not JSON", None),
    ],
)
def test_rejected_tries_are_read_where_a_sample_counts_them(metadata, expected):
    assert parse_rejected(EncodedSample("0", {"txt": b"a", "json": metadata})) == expected


def test_rejected_tries_add_up_and_are_absent_where_none_were_needed():
    assert add_rejected([{"stuck": 1, "dark": 2}, None, {"dark": 1}]) == {"dark": 3, "stuck": 1}
    assert add_rejected([{}, {}]) == {}
    assert add_rejected([None, None]) is None
