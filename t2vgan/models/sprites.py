"""Pictures that a clip draws once and then moves."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.layers import RGB
from t2vgan.models.patches import resample, to_float32

RGBA = RGB + 1


class Sprites(nn.Module):
    """Lay each clip's pictures on a plain ground, in every frame where that frame's code says.

    What is drawn once cannot change its outline or its colour from frame to frame: time only moves
    it, and zooms it steadily. A picture has an alpha channel; later ones cover earlier ones
    (sprites: Jojic and Frey, CVPR 2001; placed by bilinear sampling, so that gradients say where
    to: Jaderberg et al., NeurIPS 2015).

    The ground has one colour. One that is drawn takes the objects too, and they stand still on it
    (docs/experiments.md).
    """

    BREADTH = 0.5  # of a picture, in frames, where its code is zero
    MAX_ZOOM = 2.0
    MAX_GROWTH = 0.75  # of the breadth, from the middle of a clip to its last frame
    MAX_SHIFT = 1.5  # half frames: objects may leave
    FINENESS = 3  # samples along a side of a pixel, averaged: outlines stay smooth as they move
    TRAINING_FINENESS = 2  # half as dear; sprites smaller than half a frame flicker a little

    def __init__(self, *, code_size: int, num_sprites: int) -> None:
        super().__init__()
        self.num_sprites = num_sprites
        self.to_shift = nn.Linear(code_size, 2 * num_sprites)
        self.to_breadth = nn.Linear(code_size, num_sprites)
        self.to_growth = nn.Linear(code_size, num_sprites)
        self.to_ground = nn.Linear(code_size, RGB)

    @property
    def num_channels(self) -> int:
        """Channels of a clip's drawing: colours and alpha of each sprite."""
        return RGBA * self.num_sprites

    def forward(
        self, drawing: Tensor, code: Tensor, look: Tensor, times: Tensor, camera: Tensor | None
    ) -> Tensor:
        """Show what B clips have drawn in K frames each, in float32: bfloat16 would shake it.

        drawing (B, num_channels, H, W), code (B*K, code_size), look (B, code_size), times (B, K)
        and camera (B, 3), a clip's log zoom about the frame's middle and its pan, y before x, in
        half frames -> video (B, 3, K, H, W).
        """
        with torch.autocast(drawing.device.type, enabled=False):
            drawing, code, look = to_float32(drawing), to_float32(code), to_float32(look)
            breadth, shift = self.places(code, look, times)  # B K R, B K R 2
            if camera is not None:
                zoom = camera[:, None, None, :1].exp()  # B 1 1 1
                breadth = zoom.squeeze(3) * breadth
                shift = zoom * (shift + camera[:, None, None, 1:])
            video = self.to_ground(look)[:, :, None, None, None]  # B 3 1 1 1
            for index, sprite in enumerate(drawing.split(RGBA, dim=1)):
                colour, alpha = self.place(sprite, breadth[:, :, index], shift[:, :, index])
                video = video * (1 - alpha) + colour
        return video

    def places(self, code: Tensor, look: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return how broad sprites are, in frames, and where, in half frames: (B, K, R), and by 2.

        Breadths run straight from a clip's first frame to its last. The cube keeps a growth small
        that nothing asks for: no discriminator sees the few per cent that codes are off by.
        """
        breadth = self.BREADTH * self.MAX_ZOOM ** self.to_breadth(look).tanh()  # B R
        growth = self.MAX_GROWTH * self.to_growth(look).tanh() ** 3  # B R
        since_middle = 2 * times - 1  # B K
        breadth = breadth.unsqueeze(1) * (1 + growth.unsqueeze(1) * since_middle.unsqueeze(2))
        shift = self.MAX_SHIFT * self.to_shift(code).tanh()  # (B K) 2R
        return breadth, shift.view(*breadth.shape, 2)

    def place(self, sprite: Tensor, breadth: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return a sprite in place: colours times alpha (B, 3, K, H, W), and alpha (B, 1, K, H, W).

        sprite (B, 4, H, W), breadth (B, K), shift (B, K, 2).
        """
        colour, alpha = sprite.split((RGB, 1), dim=1)
        alpha = alpha.sigmoid()
        picture = torch.cat([alpha * colour, alpha], dim=1)
        fineness = self.TRAINING_FINENESS if self.training else self.FINENESS
        height, width = (fineness * length for length in sprite.shape[2:])
        slope = (1 / breadth).unsqueeze(2).expand(-1, -1, 2)
        placed = resample(picture, slope, -shift * slope, size=(height, width))
        placed = F.avg_pool2d(placed, fineness).unflatten(2, (breadth.shape[1], -1))
        colour, alpha = placed.split((RGB, 1), dim=1)
        return colour, alpha
