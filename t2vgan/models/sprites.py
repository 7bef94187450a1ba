"""Sprites: pictures that a clip draws once and then moves."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.coordinates import cell_centres
from t2vgan.models.layers import RGB, to_float32

RGBA = RGB + 1


class Sprites(nn.Module):
    """Composite each clip's pictures over a plain ground, in every frame.

    A picture is drawn once, so its outline and its colour cannot change from frame to frame: time
    only moves it and zooms it steadily. It has an alpha channel; later pictures cover earlier ones
    (sprites: Jojic and Frey, CVPR 2001). Pictures are placed by bilinear sampling, which is
    differentiable in the position (Jaderberg et al., NeurIPS 2015).

    The ground has one colour. A ground that is drawn absorbs the objects, which then stand still
    on it (dev/LOG.md).
    """

    BREADTH = 0.5  # of a picture, in frames, where its code is zero
    MAX_ZOOM = 2.0
    MAX_GROWTH = 0.75  # of the breadth, from the middle of a clip to its last frame
    MAX_SHIFT = 1.5  # half frames: objects may leave
    SUPERSAMPLING = 3  # samples per side of a pixel, averaged: outlines stay smooth in motion
    TRAINING_SUPERSAMPLING = 2  # half the cost; sprites below half a frame flicker a little

    def __init__(self, *, code_size: int, num_sprites: int) -> None:
        super().__init__()
        self.num_sprites = num_sprites
        self.to_shift = nn.Linear(code_size, 2 * num_sprites)
        self.to_breadth = nn.Linear(code_size, num_sprites)
        self.to_growth = nn.Linear(code_size, num_sprites)
        self.to_ground = nn.Linear(code_size, RGB)

    @property
    def num_channels(self) -> int:
        """Channels of a clip's drawing: colour and alpha of each sprite."""
        return RGBA * self.num_sprites

    def forward(
        self,
        drawing: Tensor,
        code: Tensor,
        appearance: Tensor,
        times: Tensor,
        camera: Tensor | None,
    ) -> Tensor:
        """Place the drawings of B clips in K frames each.

        drawing (B, num_channels, H, W), code (B*K, E), appearance (B, E), times (B, K) and camera
        (B, 3), a clip's log zoom about the frame's centre and its pan, y before x, in half frames
        -> video (B, 3, K, H, W). All in float32: bfloat16 would make positions jitter.
        """
        with torch.autocast(drawing.device.type, enabled=False):
            drawing, code = to_float32(drawing), to_float32(code)
            appearance = to_float32(appearance)
            breadth, shift = self.compute_placement(code, appearance, times)  # B K R, B K R 2
            if camera is not None:
                zoom = camera[:, None, None, :1].exp()  # B 1 1 1
                breadth = zoom.squeeze(3) * breadth
                shift = zoom * (shift + camera[:, None, None, 1:])
            video = self.to_ground(appearance)[:, :, None, None, None]  # B 3 1 1 1
            for index, sprite in enumerate(drawing.split(RGBA, dim=1)):
                colour, alpha = self.place_sprite(sprite, breadth[:, :, index], shift[:, :, index])
                video = video * (1 - alpha) + colour
        return video

    def compute_placement(
        self, code: Tensor, appearance: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute breadths (B, K, R) and shifts (B, K, R, 2).

        Breadths are in frames, shifts in half frames. A breadth is linear in time. The cube keeps
        growth near zero where the prompt asks for none: the discriminator does not see the few per
        cent by which codes are off.
        """
        breadth = self.BREADTH * self.MAX_ZOOM ** self.to_breadth(appearance).tanh()  # B R
        growth = self.MAX_GROWTH * self.to_growth(appearance).tanh() ** 3  # B R
        since_middle = 2 * times - 1  # B K
        breadth = breadth.unsqueeze(1) * (1 + growth.unsqueeze(1) * since_middle.unsqueeze(2))
        shift = self.MAX_SHIFT * self.to_shift(code).tanh()  # (B K) 2R
        return breadth, shift.view(*breadth.shape, 2)

    def place_sprite(self, sprite: Tensor, breadth: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Resample a sprite at its place in every frame.

        sprite (B, 4, H, W), breadth (B, K), shift (B, K, 2) -> colours times alpha
        (B, 3, K, H, W), and alpha (B, 1, K, H, W).
        """
        colour, alpha = sprite.split((RGB, 1), dim=1)
        alpha = alpha.sigmoid()
        picture = torch.cat([alpha * colour, alpha], dim=1)
        factor = self.TRAINING_SUPERSAMPLING if self.training else self.SUPERSAMPLING
        height, width = (factor * length for length in sprite.shape[2:])
        slope = (1 / breadth).unsqueeze(2).expand(-1, -1, 2)
        placed = resample(picture, slope, -shift * slope, size=(height, width))
        placed = F.avg_pool2d(placed, factor).unflatten(2, (breadth.shape[1], -1))
        colour, alpha = placed.split((RGB, 1), dim=1)
        return colour, alpha


def resample(maps: Tensor, slope: Tensor, start: Tensor, *, size: Sequence[int]) -> Tensor:
    """Sample K axis-aligned views of maps bilinearly; outside them is zero.

    Each view shows at place p, from -1 to 1, what the maps have at slope * p + start. Keep it out
    of autocast: bfloat16 rounds places to a quarter of a pixel.

    Shapes: maps (N, C, h, w), slope and start (N, K, 2), y before x, size (H, W) ->
    (N, C, K*H, W), view below view.
    """
    y, x = (
        slope[..., axis, None] * cell_centres(length, maps.device) + start[..., axis, None]
        for axis, length in enumerate(size)
    )  # N K H, N K W
    grid = torch.stack(torch.broadcast_tensors(x.unsqueeze(2), y.unsqueeze(3)), dim=4)  # N K H W 2
    return F.grid_sample(
        maps, grid.flatten(1, 2), "bilinear", padding_mode="zeros", align_corners=False
    )
