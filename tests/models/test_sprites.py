"""Sprites keep their outline, follow their code, and cover in order."""

import math

import pytest
import torch
from torch import Tensor, nn

from t2vgan.models.sprites import Sprites
from tests.models.test_resampling import grid
from tests.support.small_networks import H, W


def still_sprites(num_sprites: int, *, height: int = H, width: int = W) -> Sprites:
    """Build sprites with zero codes: centred, default breadth, on black."""
    sprites = Sprites(code_size=1, num_sprites=num_sprites, height=height, width=width)
    for parameter in sprites.parameters():
        nn.init.zeros_(parameter)
    return sprites


def opaque(*colour: float) -> Tensor:
    """Return a sprite that fills its canvas, (1, 4, H, W)."""
    return torch.tensor([*colour, 100.0]).view(1, 4, 1, 1).expand(-1, -1, H, W)


def show(sprites: Sprites, drawing: Tensor, *, camera: Tensor | None = None) -> Tensor:
    """Draw two frames, the first and the last, (3, 2, H, W)."""
    code, appearance = torch.zeros(2, 1), torch.zeros(1, 1)
    return sprites(drawing, code, appearance, torch.tensor([[0.0, 1.0]]), camera)[0]


def rectangle(y: slice, x: slice, *colour: float) -> Tensor:
    frame = torch.zeros(3, H, W)
    frame[:, y, x] = torch.tensor(colour).view(3, 1, 1)
    return frame


def assert_shows(frame: Tensor, expected: Tensor) -> None:
    """Compare all but a smooth border of one pixel."""
    edge = nn.functional.max_pool2d(expected, 3, 1, 1) != -nn.functional.max_pool2d(
        -expected, 3, 1, 1
    )
    torch.testing.assert_close(frame.where(~edge, 0), expected.where(~edge, 0), atol=1e-5, rtol=0)
    torch.testing.assert_close(frame.sum((1, 2)), expected.sum((1, 2)), rtol=0.02, atol=1e-3)


def test_a_sprite_covers_half_a_frame_and_goes_where_its_code_says():
    sprites = still_sprites(1)
    nn.init.constant_(sprites.to_ground.bias, -0.5)
    ground = torch.full((3, H, W), -0.5)
    middle = rectangle(slice(8, 24), slice(12, 36), 1.5, 1.0, 0.5)  # H, W = 32, 48
    assert_shows(show(sprites, opaque(1.0, 0.5, 0.0))[:, 0] - ground, middle)
    down, right = 4 * 2 / H, 3 * 2 / W  # in half frames
    with torch.no_grad():
        sprites.to_shift.bias.copy_((torch.tensor([down, right]) / sprites.MAX_SHIFT).atanh())
    moved = middle.roll((4, 3), dims=(1, 2))
    assert_shows(show(sprites, opaque(1.0, 0.5, 0.0))[:, 1] - ground, moved)


def test_a_sprite_zooms_straight_from_the_first_frame_to_the_last():
    sprites = still_sprites(3)
    with torch.no_grad():
        sprites.to_breadth.bias.copy_(torch.tensor([-20.0, 0.0, 20.0]))
        sprites.to_growth.bias.copy_(torch.tensor([20.0, -20.0, 0.1]))
    breadth, shift = sprites.compute_placement(
        torch.zeros(3, 1), torch.zeros(1, 1), torch.tensor([[0, 0.25, 1]])
    )
    middle = sprites.BREADTH * torch.tensor([0.5, 1.0, 2.0])
    growth = torch.tensor([[0.25, 1.75, 1.0], [0.625, 1.375, 1.0], [1.75, 0.25, 1.0]])  # K R
    torch.testing.assert_close(breadth[0], middle * growth, rtol=1e-3, atol=0)
    assert breadth[0, 2, 2] > breadth[0, 0, 2], "what is hardly asked for is hardly done"
    assert torch.equal(shift, torch.zeros(1, 3, 3, 2))


def area_flicker(breadth: float, *, is_training: bool) -> float:
    """Return std / mean of a disc's area under subpixel motion."""
    sprites = still_sprites(1, height=W, width=W).train(is_training)
    y, x, _ = grid(W, W)  # a square frame
    disc = (20 * (0.6 - (x**2 + y**2).sqrt())).clamp(0, 1)
    sprite = torch.cat([torch.ones(1, 3, W, W), 100 * (disc - 0.5).view(1, 1, W, W)], 1)
    shift = torch.linspace(0, 2 * 2 / W, 9).view(1, 9, 1) * torch.tensor([1.0, 0.3])
    _, alpha = sprites.place_sprite(sprite, torch.full((1, 9), breadth), shift)
    area = alpha.sum((3, 4)).flatten()
    return (area.std() / area.mean()).item()


@pytest.mark.parametrize("breadth", [0.2, 0.25, 0.33, 0.5])
def test_a_sprite_keeps_its_area_as_it_moves_by_parts_of_a_pixel(breadth):
    assert area_flicker(breadth, is_training=False) < 0.005


def test_sprites_drawn_small_are_steadier_where_they_are_drawn_to_be_seen():
    seen = area_flicker(0.2, is_training=False)
    assert seen < area_flicker(0.2, is_training=True) / 2


def test_later_sprites_cover_earlier_ones_and_clear_ones_cover_nothing():
    red, green = opaque(1.0, 0.0, 0.0), opaque(0.0, 1.0, 0.0)
    expected = rectangle(slice(8, 24), slice(12, 36), 0.0, 1.0, 0.0)
    sprites = still_sprites(2)
    assert_shows(show(sprites, torch.cat([red, green], 1))[:, 0], expected)
    clear = torch.cat([red[:, :3], -red[:, 3:]], 1)
    assert_shows(show(sprites, torch.cat([green, clear], 1))[:, 0], expected)


def test_a_camera_pans_and_then_zooms_all_sprites():
    camera = torch.tensor([[math.log(1.25), -4 * 2 / H, 4 * 2 / W]])  # four pixels up and right
    seen = show(still_sprites(1), opaque(1.0, 1.0, 1.0), camera=camera)
    assert_shows(seen[:, 0], rectangle(slice(1, 21), slice(14, 44), 1.0, 1.0, 1.0))
    assert torch.equal(seen[:, 0], seen[:, 1])


def test_the_sprites_of_phrases_lie_in_order_over_one_ground():
    sprites = still_sprites(1)
    drawing = torch.cat([opaque(1.0, 0.5, 0.0), opaque(-1.0, 0.0, 0.5)]).repeat(2, 1, 1, 1)
    with torch.no_grad():
        sprites.to_shift.weight.copy_(torch.tensor([[0.0], [1.0]]))
        sprites.to_ground.weight.copy_(torch.tensor([[0.0], [0.4], [0.8]]))
    shift = math.atanh(W / 4 * 2 / W / sprites.MAX_SHIFT)  # a quarter of the width
    code, appearance = torch.tensor([[0.0], [shift], [0.0], [shift]]), torch.tensor([1.0, 0.5] * 2)
    video = sprites(
        drawing,
        code,
        appearance.unsqueeze(1),
        torch.full((4, 1), 0.5),
        None,
        is_present=torch.tensor([[True, True], [True, False]]),
    )
    assert video.shape == (2, 3, 1, H, W)
    rows = slice(H // 4, 3 * H // 4)
    expected = torch.zeros(2, 3, H, W) + torch.tensor([0.0, 0.3, 0.6]).view(3, 1, 1)
    expected[1] = torch.tensor([0.0, 0.4, 0.8]).view(3, 1, 1)
    expected[:, :, rows, W // 4 : 3 * W // 4] = torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)
    expected[0, :, rows, W // 2 :] = torch.tensor([-1.0, 0.0, 0.5]).view(3, 1, 1)
    for clip, frame in zip(video, expected, strict=True):
        assert_shows(clip[:, 0], frame)
