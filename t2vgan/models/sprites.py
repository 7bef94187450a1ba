"""Sprites: pictures drawn once per clip and then moved."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from t2vgan.models.layers import RGB, to_float32
from t2vgan.models.resampling import ResampleByProducts, resample_averaged

RGBA = RGB + 1

Picture = tuple[Tensor, Tensor]
"""Premultiplied colours (B, 3, K, H, W), and alpha (B, 1, K, H, W)."""


class Sprites(nn.Module):
    """Composite each clip's pictures over a plain background, in every frame.

    A picture is drawn once, so its outline and colour cannot change from frame to frame; over time
    it only moves and zooms at a constant rate. It has an alpha channel, and later pictures cover
    earlier ones (sprites: Jojic and Frey, CVPR 2001). Pictures are placed by bilinear sampling,
    which is differentiable in the position (Jaderberg et al., NeurIPS 2015).

    The ground (background) has one colour. If it were drawn, it would absorb the objects, which
    then do not move (dev/LOG.md).
    """

    BREADTH = 0.5  # of a picture, in frames, if `to_breadth` is zero
    MAX_ZOOM = 2.0
    MAX_GROWTH = 0.75  # of the breadth, from the middle of a clip to its last frame
    MAX_SHIFT = 1.5  # in half frames: objects may leave the frame
    SUPERSAMPLING = 3  # samples per side of a pixel, averaged: outlines stay smooth in motion
    TRAINING_SUPERSAMPLING = 2  # half the cost; sprites below half a frame flicker a little

    def __init__(self, *, code_size: int, num_sprites: int, height: int, width: int) -> None:
        super().__init__()
        self.num_sprites = num_sprites
        self.to_shift = nn.Linear(code_size, 2 * num_sprites)
        self.to_breadth = nn.Linear(code_size, num_sprites)
        self.to_growth = nn.Linear(code_size, num_sprites)
        self.to_ground = nn.Linear(code_size, RGB)
        self.resample = ResampleByProducts(height, width, self.SUPERSAMPLING)
        self.resample_in_training = ResampleByProducts(height, width, self.TRAINING_SUPERSAMPLING)

    @property
    def num_channels(self) -> int:
        """Number of channels of a clip's drawing: RGBA for each sprite."""
        return RGBA * self.num_sprites

    def forward(
        self,
        drawing: Tensor,
        code: Tensor,
        appearance: Tensor,
        times: Tensor,
        camera: Tensor | None,
        is_present: Tensor | None = None,
    ) -> Tensor:
        """Place the drawings of B clips in K frames each.

        drawing (B, num_channels, H, W), code (B*K, E), appearance (B, E), times (B, K) and camera
        (B, 3), a clip's log zoom about the frame's centre and its pan, y before x, in half frames
        -> video (B, 3, K, H, W). Computed in float32: with bfloat16 positions would jitter.

        With `is_present` (C, P) bool, B is C clips times P phrases. The pictures of a clip's
        phrases are placed over one ground, the mean of the phrases' grounds; absent phrases are
        left out -> video (C, 3, K, H, W).
        """
        with torch.autocast(drawing.device.type, enabled=False):
            drawing, code = to_float32(drawing), to_float32(code)
            appearance = to_float32(appearance)
            breadth, shift = self.compute_placement(code, appearance, times)  # B K R, B K R 2
            if camera is not None:
                zoom = camera[:, None, None, :1].exp()  # B 1 1 1
                breadth = zoom.squeeze(3) * breadth
                shift = zoom * (shift + camera[:, None, None, 1:])
            ground = self.to_ground(appearance)  # B 3
            pictures = [
                self.place_sprite(sprite, breadth[:, :, index], shift[:, :, index])
                for index, sprite in enumerate(drawing.split(RGBA, dim=1))
            ]
            if is_present is not None:
                ground, pictures = join_phrases(ground, pictures, is_present)
            video = ground[:, :, None, None, None]  # C 3 1 1 1
            for colour, alpha in pictures:
                video = video * (1 - alpha) + colour
        return video

    def compute_placement(
        self, code: Tensor, appearance: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute breadths (B, K, R) and shifts (B, K, R, 2).

        Breadths are in frames and linear in time, shifts in half frames. The cube keeps growth near
        zero if the prompt asks for none: the discriminator would not notice the few per cent that
        codes are off.
        """
        breadth = self.BREADTH * self.MAX_ZOOM ** self.to_breadth(appearance).tanh()  # B R
        growth = self.MAX_GROWTH * self.to_growth(appearance).tanh() ** 3  # B R
        since_middle = 2 * times - 1  # B K
        breadth = breadth.unsqueeze(1) * (1 + growth.unsqueeze(1) * since_middle.unsqueeze(2))
        shift = self.MAX_SHIFT * self.to_shift(code).tanh()  # (B K) 2R
        return breadth, shift.view(*breadth.shape, 2)

    def place_sprite(self, sprite: Tensor, breadth: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Resample a sprite at its position in every frame.

        sprite (B, 4, H, W), breadth (B, K), shift (B, K, 2) -> premultiplied colours
        (B, 3, K, H, W), and alpha (B, 1, K, H, W).
        """
        colour, alpha = sprite.split((RGB, 1), dim=1)
        alpha = alpha.sigmoid()
        picture = torch.cat([alpha * colour, alpha], dim=1)
        slope = (1 / breadth).unsqueeze(2).expand(-1, -1, 2)
        start = -shift * slope
        if self.training:
            placed = self.resample_in_training(picture, slope, start)
        elif torch.compiler.is_exporting():
            placed = self.resample(picture, slope, start)
        else:  # no gradient is needed, and on a CPU this is faster than products
            placed = resample_averaged(picture, slope, start, self.SUPERSAMPLING)
        return placed.split((RGB, 1), dim=1)


def join_phrases(
    ground: Tensor, pictures: Sequence[Picture], is_present: Tensor
) -> tuple[Tensor, list[Picture]]:
    """Join the grounds and pictures of each clip's phrases.

    ground (C P, 3), pictures of C P phrases, is_present (C, P) -> ground (C, 3), pictures of C
    clips.
    """
    share = is_present.to(ground)  # C P
    weights = share / share.sum(1, keepdim=True)
    ground = (ground.unflatten(0, share.shape) * weights.unsqueeze(2)).sum(1)
    shown = share[:, :, None, None, None, None]
    of_phrases = [
        [(part.unflatten(0, share.shape) * shown).unbind(1) for part in picture]
        for picture in pictures
    ]
    return ground, [
        (colours[phrase], alphas[phrase])
        for phrase in range(share.shape[1])
        for colours, alphas in of_phrases
    ]
