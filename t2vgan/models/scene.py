"""Scene: maps that a clip draws once and a moving camera views."""

import torch
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.casting import Conv2d, Linear
from t2vgan.models.coordinates import FixedCoordinates, PlaceEmbedding, cell_centres
from t2vgan.models.layers import ResidualBlock, to_float32, upsample2x
from t2vgan.models.resampling import (
    sample_reflected,
    sample_reflected_by_products,
    stretch,
    stretch_by_products,
)


class Scene(nn.Module):
    """Draw maps once per clip, and view them through a moving camera.

    The maps are wider than the frame; time pans, zooms and warps the view of them.
    What moves with the camera is the same in all frames by construction, and a steady pan is one
    number of a clip. Places are sampled bilinearly (Jaderberg et al., NeurIPS 2015): on coarse
    maps, whose gradient shows far enough which way a view should go (dev/LOG.md). Beyond its
    borders the scene is mirrored.
    """

    MAX_SHIFT = 2.5  # half frames
    MAX_ZOOM = 2.0
    WARP_CELLS = 4  # per side: a smooth field, for what is near or far
    MAX_WARP = 0.5  # half frames
    cells: Tensor
    """Centres of a frame's cells, (2, h, w), x before y, from -1 to 1."""

    def __init__(
        self, *, code_size: int, channels: int, grid: tuple[int, int], scale: float
    ) -> None:
        super().__init__()
        self.scale, self.grid = scale, grid
        self.coarsest = (2 * channels, *(round(cells // 4 * scale) for cells in grid))
        self.layout = Linear(code_size, 2 * channels * self.coarsest[1] * self.coarsest[2])
        self.coarse = ResidualBlock(2 * channels, code_size=code_size)
        self.middle = ResidualBlock(2 * channels, code_size=code_size)
        self.to_fine = Conv2d(2 * channels, channels, 1)
        self.coordinates = FixedCoordinates()
        rows, columns = (4 * cells for cells in self.coarsest[1:])
        self.place = PlaceEmbedding(self.coordinates, channels, rows=rows, columns=columns)
        self.fine = ResidualBlock(channels, code_size=code_size)
        self.to_speed = nn.Linear(code_size, 3)
        self.to_camera = nn.Linear(code_size, 3)
        self.to_warp = nn.Linear(code_size, 2 * self.WARP_CELLS**2)
        y, x = (cell_centres(length) for length in grid)
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # 2 h w
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, appearance: Tensor, code: Tensor, times: Tensor) -> Tensor:
        """Draw the scenes of B clips as seen in K frames each.

        appearance (B, E), code (B*K, E), times (B, K) -> maps (B*K, C, h, w).
        """
        maps = self.draw(appearance)  # B C sh sw
        with torch.autocast(maps.device.type, enabled=False):  # bfloat16: places jitter
            places = self.compute_places(to_float32(appearance), to_float32(code), times)
            places = rearrange(places, "(b k) h w two -> b (k h) w two", b=maps.shape[0])
            sample = sample_reflected_by_products if maps.is_cuda else sample_reflected
            views = sample(to_float32(maps), places)
        views = rearrange(views, "b c (k h) w -> (b k) c h w", h=self.grid[0])
        return views.contiguous(memory_format=torch.channels_last)

    def draw(self, appearance: Tensor) -> Tensor:
        """Draw the scenes of codes (B, E): maps (B, C, scale*h, scale*w)."""
        maps = self.layout(appearance).view(-1, *self.coarsest)
        maps = self.coarse(maps.contiguous(memory_format=torch.channels_last), appearance)
        maps = upsample2x(self.to_fine(self.middle(upsample2x(maps), appearance)))
        maps = maps + self.place(self.coordinates(appearance))
        return self.fine(maps, appearance)

    def compute_places(self, appearance: Tensor, code: Tensor, times: Tensor) -> Tensor:
        """Compute which place of the scene each cell of a frame shows.

        appearance (B, E), code (B*K, E), times (B, K) -> (B*K, h, w, 2), x before y, from -1 to 1
        over the scene.
        """
        since_middle = (2 * times - 1).unsqueeze(2)  # B K 1
        steady = self.to_speed(appearance).unsqueeze(1) * since_middle  # B K 3
        camera = torch.add(steady.flatten(0, 1), self.to_camera(code), alpha=0.5)  # (B K) 3
        zoom, shift = camera.split((1, 2), dim=1)
        zoom = self.MAX_ZOOM ** zoom.tanh()
        shift = self.MAX_SHIFT * (shift / 2).tanh()
        warp = self.to_warp(code).tanh().view(-1, 2, self.WARP_CELLS, self.WARP_CELLS)
        stretch_warp = stretch_by_products if warp.is_cuda else stretch
        warp = self.MAX_WARP * stretch_warp(warp, self.grid)  # (B K) 2 h w
        places = self.cells / zoom[:, :, None, None] + shift[:, :, None, None] + warp
        return places.permute(0, 2, 3, 1) / self.scale
