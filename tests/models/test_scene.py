"""A scene shows the part that its camera looks at."""

import pytest
import torch
from torch import Tensor, nn

from t2vgan.models.coordinates import cell_centres
from t2vgan.models.scene import Scene

GRID = (8, 12)
SCALE = 2.0


@pytest.fixture
def scene(monkeypatch) -> Scene:
    """Return a scene with zero codes, whose maps hold y and x in half frames."""
    scene = Scene(code_size=1, channels=2, grid=GRID, scale=SCALE)
    for parameter in scene.parameters():
        nn.init.zeros_(parameter)

    def draw(layout: Tensor, *_: Tensor) -> Tensor:
        y, x = (SCALE * cell_centres(round(SCALE * length)) for length in GRID)
        return torch.stack(torch.meshgrid(y, x, indexing="ij")).expand(len(layout), -1, -1, -1)

    monkeypatch.setattr(scene, "draw", draw)
    return scene


def show(scene: Scene, times: list[float]) -> Tensor:
    """Return what a clip's frames show, (K, 2, h, w): y and x in half frames."""
    code = torch.zeros(len(times), 1)
    return scene(
        torch.zeros(1, 1), scene.to_camera(code), scene.to_warp(code), torch.tensor([times])
    )


def frame() -> Tensor:
    """Return y and x of a frame's own cells in half frames, (2, h, w)."""
    y, x = (cell_centres(length) for length in GRID)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))


def test_a_camera_at_rest_shows_the_middle_of_the_scene(scene):
    for shown in show(scene, [0.0, 0.7]):
        torch.testing.assert_close(shown, frame())


def test_a_steady_camera_goes_as_far_to_one_side_as_to_the_other(scene):
    # Order: zoom, x, y.
    with torch.no_grad():
        scene.to_speed.bias.copy_(torch.tensor([0.0, 0.4, 0.0]))
    left, middle, right = show(scene, [0.0, 0.5, 1.0])
    torch.testing.assert_close(middle, frame())
    across = Scene.MAX_SHIFT * torch.tensor(0.2).tanh()
    moved = torch.stack([torch.zeros(GRID), across.expand(GRID)])
    torch.testing.assert_close(right, frame() + moved)
    torch.testing.assert_close(left, frame() - moved)


def test_a_frame_has_its_own_zoom(scene):
    with torch.no_grad():
        scene.to_camera.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    zoom = Scene.MAX_ZOOM ** torch.tensor(0.5).tanh()
    torch.testing.assert_close(show(scene, [0.3])[0], frame() / zoom)


def test_beyond_its_borders_a_scene_is_mirrored(scene):
    with torch.no_grad():
        scene.to_camera.bias.copy_(torch.tensor([0.0, 100.0, 0.0]))
    across = show(scene, [0.0])[0, 1]
    expected = frame()[1] + Scene.MAX_SHIFT
    mirrored = torch.where(expected > SCALE, 2 * SCALE - expected, expected)
    inside = mirrored < SCALE - 1 / GRID[1]  # the outermost half cell is clamped by the mirror
    torch.testing.assert_close(across[inside], mirrored[inside])


def test_every_parameter_of_a_scene_learns():
    torch.manual_seed(0)
    scene = Scene(code_size=6, channels=4, grid=GRID, scale=1.5)
    appearance, code = torch.randn(2, 6), torch.randn(6, 6)
    maps = scene(appearance, scene.to_camera(code), scene.to_warp(code), torch.rand(2, 3))
    assert maps.shape == (6, 4, *GRID)
    maps.square().sum().backward()
    for name, parameter in scene.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
