"""Scene: maps drawn once per clip and viewed by a moving camera."""

import torch
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.casting import Conv2d, to_autocast
from t2vgan.models.coordinates import PlaceEmbedding, cell_centres
from t2vgan.models.layers import (
    CodeLayers,
    ResidualBlock,
    ScaleAndShift,
    channels_first,
    to_float32,
    upsample2x,
)
from t2vgan.models.resampling import (
    sample_reflected,
    sample_reflected_by_products,
    stretch,
    stretch_by_products,
)


class Scene(nn.Module):
    """Draw maps once per clip, and view them through a moving camera.

    The maps are wider than the frame; the view of them is panned, zoomed and warped over time.
    The scene's content is the same in all frames by construction, and a uniform pan is a constant
    of the clip. Views are sampled bilinearly (Jaderberg et al., NeurIPS 2015), from coarse maps,
    whose gradient moves a view over larger distances (dev/LOG.md). Beyond its borders
    the scene is mirrored.
    """

    MAX_SHIFT = 2.5  # in half frames
    MAX_ZOOM = 2.0
    WARP_CELLS = 4  # per side: a smooth field, for objects at different depths
    MAX_WARP = 0.5  # in half frames
    cells: Tensor
    """Centres of a frame's cells, (2, h, w), x before y, from -1 to 1 over the scene."""

    def __init__(
        self, *, code_size: int, channels: int, grid: tuple[int, int], scale: float
    ) -> None:
        super().__init__()
        self.scale, self.grid = scale, grid
        self.coarsest = (2 * channels, *coarsest_scene_grid(grid, scale))
        self.layout = nn.Linear(code_size, 2 * channels * self.coarsest[1] * self.coarsest[2])
        self.coarse = ResidualBlock(2 * channels, code_size=code_size)
        self.middle = ResidualBlock(2 * channels, code_size=code_size)
        self.to_fine = Conv2d(2 * channels, channels, 1)
        rows, columns = (4 * cells for cells in self.coarsest[1:])
        self.place = PlaceEmbedding(channels, rows=rows, columns=columns)
        self.fine = ResidualBlock(channels, code_size=code_size)
        self.to_speed = nn.Linear(code_size, 3)
        self.to_camera = nn.Linear(code_size, 3)
        self.to_warp = nn.Linear(code_size, 2 * self.WARP_CELLS**2)
        blocks = (self.coarse, self.middle, self.fine)
        self.by_appearance = CodeLayers(
            self.layout, [block.modulation for block in blocks], [self.to_speed]
        )
        y, x = (cell_centres(length) for length in grid)
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy")) / scale  # 2 h w
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, appearance: Tensor, camera: Tensor, warp: Tensor, times: Tensor) -> Tensor:
        """Draw the scenes of B clips as viewed in K frames each.

        appearance (B, E), times (B, K), and from each frame's code camera (B*K, 3) and warp
        (B*K, 32), the outputs of `to_camera` and `to_warp` -> maps (B*K, C, h, w).
        """
        layout, modulations, (speed,) = self.by_appearance(appearance)
        maps = self.draw(layout, *modulations)  # B C sh sw
        with torch.autocast(maps.device.type, enabled=False):  # bfloat16: positions jitter
            places = self.compute_places(speed, camera, warp, times)
            places = rearrange(places, "(b k) h w two -> b (k h) w two", b=maps.shape[0])
            sample = sample_reflected_by_products if maps.is_cuda else sample_reflected
            views = sample(to_float32(maps), places)
        views = rearrange(to_autocast(views), "b c (k h) w -> (b k) h w c", h=self.grid[0])
        return channels_first(views)

    def draw(
        self, layout: Tensor, coarse: ScaleAndShift, middle: ScaleAndShift, fine: ScaleAndShift
    ) -> Tensor:
        """Draw scenes from layouts (B, ...): maps (B, C, scale*h, scale*w)."""
        maps = layout.view(-1, *self.coarsest).contiguous(memory_format=torch.channels_last)
        maps = self.middle(upsample2x(self.coarse(maps, coarse)), middle)
        maps = upsample2x(self.to_fine(maps)) + self.place()
        return self.fine(maps, fine)

    def compute_places(self, speed: Tensor, camera: Tensor, warp: Tensor, times: Tensor) -> Tensor:
        """Compute the scene position that each cell of a frame shows.

        speed (B, 3), camera (B*K, 3), warp (B*K, 32), times (B, K) -> (B*K, h, w, 2), x before y,
        from -1 to 1 over the scene.
        """
        since_middle = (2 * times - 1).unsqueeze(2)  # B K 1
        steady = speed.unsqueeze(1) * since_middle  # B K 3
        camera = torch.add(steady.flatten(0, 1), camera, alpha=0.5)  # (B K) 3
        zoom, shift = camera.split((1, 2), dim=1)
        breadth = (1 / self.MAX_ZOOM) ** zoom.tanh()
        shift = self.MAX_SHIFT / self.scale * (shift / 2).tanh()
        warp = warp.tanh().unflatten(1, (2, self.WARP_CELLS, self.WARP_CELLS))
        stretch_warp = stretch_by_products if warp.is_cuda else stretch
        warp = stretch_warp(warp, self.grid)  # (B K) 2 h w
        places = torch.addcmul(shift[:, :, None, None], self.cells, breadth[:, :, None, None])
        return torch.add(places, warp, alpha=self.MAX_WARP / self.scale).permute(0, 2, 3, 1)


def coarsest_scene_grid(grid: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the rows and columns of a scene's first maps."""
    rows, columns = grid
    return round(rows // 4 * scale), round(columns // 4 * scale)
