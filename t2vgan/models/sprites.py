"""Sprites: pictures that a clip draws once and then moves."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.coordinates import cell_centres
from t2vgan.models.layers import RGB, to_float32

RGBA = RGB + 1

Picture = tuple[Tensor, Tensor]
"""Colours times alpha (B, 3, K, H, W), and alpha (B, 1, K, H, W)."""


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
        is_present: Tensor | None = None,
    ) -> Tensor:
        """Place the drawings of B clips in K frames each.

        drawing (B, num_channels, H, W), code (B*K, E), appearance (B, E), times (B, K) and camera
        (B, 3), a clip's log zoom about the frame's centre and its pan, y before x, in half frames
        -> video (B, 3, K, H, W). All in float32: bfloat16 would make positions jitter.

        With `is_present` (C, P) bool, B is C clips times P phrases: the pictures of a clip's
        phrases lie over one ground, the mean of theirs, and those of absent phrases nowhere
        -> video (C, 3, K, H, W).
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
        slope = (1 / breadth).unsqueeze(2).expand(-1, -1, 2)
        draw = resample_by_products if torch.compiler.is_exporting() else resample_averaged
        return draw(picture, slope, -shift * slope, factor).split((RGB, 1), dim=1)


def join_phrases(
    ground: Tensor, pictures: Sequence[Picture], is_present: Tensor
) -> tuple[Tensor, list[Picture]]:
    """Return one ground per clip, and its pictures phrase by phrase.

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


def resample_averaged(maps: Tensor, slope: Tensor, start: Tensor, factor: int) -> Tensor:
    """Sample views of maps, each cell the mean of several samples.

    `factor` samples per side of a cell. Shapes: maps (N, C, H, W), slope and start as in
    `resample` -> (N, C, K, H, W).
    """
    height, width = (factor * length for length in maps.shape[2:])
    placed = resample(maps, slope, start, size=(height, width))
    return F.avg_pool2d(placed, factor).unflatten(2, (slope.shape[1], -1))


def resample_by_products(maps: Tensor, slope: Tensor, start: Tensor, factor: int) -> Tensor:
    """Compute `resample_averaged` as two matrix products, equal up to rounding.

    For exported networks: other runtimes sample a grid many times slower than they multiply.
    """
    num_channels, height, width = maps.shape[1:]
    rows = compute_weights(slope[..., 0], start[..., 0], height, factor)  # N K H h
    columns = compute_weights(slope[..., 1], start[..., 1], width, factor)  # N K W w
    views = rows.flatten(1, 2) @ maps.transpose(1, 2).flatten(2)  # N (K H) (C w)
    views = views.view(-1, slope.shape[1], height * num_channels, width)
    views = views @ columns.transpose(2, 3)  # N K (H C) W
    return views.unflatten(2, (height, num_channels)).permute(0, 3, 1, 2, 4)


def compute_weights(slope: Tensor, start: Tensor, length: int, factor: int) -> Tensor:
    """Compute how much each cell of an axis gives to its views.

    slope and start (N, K) -> (N, K, length, length): of each view's cell, the mean of its `factor`
    samples, each linear between the two cells beside it.
    """
    places = slope.unsqueeze(2) * cell_centres(factor * length, slope.device) + start.unsqueeze(2)
    samples = ((places + 1) * length - 1) / 2  # N K (factor length), in cells
    distance = samples.unsqueeze(3) - torch.arange(length, device=slope.device)
    return F.relu(1 - distance.abs()).unflatten(2, (length, factor)).mean(3)


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
