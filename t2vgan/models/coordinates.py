"""Where things lie in a frame: coordinates that move, and the camera that sees them."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.maps import maps_first, middles, resample


class Coordinates(nn.Module):
    """Where rows and columns lie, as waves, in frames of reference that move and zoom.

    A network that sees only fixed coordinates must redraw an object to move it; here it moves the
    reference (StyleGAN3, Karras et al., NeurIPS 2021, section 3.2). Two objects, two references.
    """

    FREQUENCIES = (0.5, 1.0, 2.0, 4.0)
    MAX_SHIFT = 1.5  # half frames: objects may leave
    MAX_ZOOM = 2.0
    frequencies: Tensor

    def __init__(self, num_references: int) -> None:
        super().__init__()
        self.num_references = num_references
        frequencies = torch.tensor(self.FREQUENCIES) * (math.pi / 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    @property
    def size(self) -> int:
        """Features of one cell: for each reference, sine and cosine of two axes."""
        return self.num_references * 2 * 2 * len(self.FREQUENCIES)


class MovingCoordinates(Coordinates):
    """Each frame's code says where its references are and how much they zoom."""

    def __init__(self, *, code_size: int, num_references: int) -> None:
        super().__init__(num_references)
        self.to_reference = nn.Linear(code_size, 3 * num_references)

    def forward(self, code: Tensor) -> "Reference":
        """code (N, code_size) -> N frames of reference, for grids of any size."""
        reference = self.to_reference(code).tanh().view(len(code), 1, self.num_references, 3)
        zoom = self.MAX_ZOOM ** reference[..., :1]  # N 1 R 1
        shift = self.MAX_SHIFT * reference[..., 1:]  # N 1 R 2, y before x
        return Reference(zoom, shift, self.frequencies)


class SteadyCoordinates(Coordinates):
    """Each frame's code says where its references are, the clip's code how much they zoom.

    How broad things are runs straight from a clip's first frame to its last.
    """

    def __init__(self, *, code_size: int, num_references: int) -> None:
        super().__init__(num_references)
        self.to_shift = nn.Linear(code_size, 2 * num_references)
        self.to_breadth = nn.Linear(code_size, 2 * num_references)

    def forward(self, code: Tensor, look: Tensor, times: Tensor) -> "Reference":
        """code (B*K, code_size), look (B, code_size), times (B, K) -> B*K frames of reference."""
        shift = self.MAX_SHIFT * self.to_shift(code).tanh()  # (B K) 2R
        breadth = self.MAX_ZOOM ** self.to_breadth(look).tanh()  # B 2R
        first, last = breadth.unsqueeze(1).chunk(2, dim=2)
        zoom = 1 / (first + (last - first) * times.unsqueeze(2))  # B K R
        return Reference(
            zoom.view(-1, 1, self.num_references, 1),
            shift.view(-1, 1, self.num_references, 2),
            self.frequencies,
        )


class Reference(NamedTuple):
    """Frames of reference of N images."""

    zoom: Tensor
    shift: Tensor
    frequencies: Tensor

    def panned_by(self, camera: "Camera") -> "Reference":
        """Return them panned; what the cameras zoom, they zoom later."""
        return self._replace(shift=self.shift + camera.pan[:, None, None, :])

    def waves(self, axis: int, length: int) -> Tensor:
        """Return the features of an axis's cells, (N, length, size / 2): 0 is y, 1 is x."""
        cells = middles(length, self.zoom.device)
        places = (cells[:, None, None] - self.shift[..., axis : axis + 1]) * self.zoom  # N l R 1
        angles = places * self.frequencies  # N l R F
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)


class Camera(NamedTuple):
    """How far all that N frames show is panned, and then zoomed about their middle.

    With cameras that their latents hold, clips of one prompt differ in place, size and speed by
    construction. A generator left to itself draws one clip per prompt by the time it obeys;
    latents that are read back vary its places and speeds, but not its sizes: convolutions draw an
    object of one size wherever the frames of reference say (docs/experiments.md).
    """

    pan: Tensor
    """(N, 2), y before x, in half frames."""
    zoom: Tensor
    """(N, 1): 2 shows all twice as large."""

    @classmethod
    def held_by(cls, latents: Tensor, *, std: Tensor, num_frames: int) -> "Camera":
        """Return a camera for each of K frames of B clips, the same throughout a clip.

        latents (B, Z >= 3) of unit variance; std (): of the pan and of the zoom's logarithm.
        """
        moves = std * latents[:, :3].repeat_interleave(num_frames, 0)  # (B K) 3
        return cls(pan=moves[:, 1:], zoom=moves[:, :1].exp())

    def double_and_pan(self, maps: Tensor) -> Tensor:
        """maps (N, C, h, w) -> (N, C, 2h, 2w); smooth, for a pan by less than a cell."""
        size = (2 * maps.shape[2], 2 * maps.shape[3])
        panned = resample(maps, torch.ones_like(self.pan), -self.pan, size=size, mode="bilinear")
        return panned.contiguous(memory_format=torch.channels_last)

    def zoom_into(self, video: Tensor) -> Tensor:
        """video (B, 3, K, H, W) -> the same, zoomed."""
        images = rearrange(video, "b c k h w -> (b k) c h w")
        slope, size = (1 / self.zoom).expand(-1, 2), video.shape[3:]
        images = resample(images, slope, torch.zeros_like(slope), size=size, mode="bicubic")
        return rearrange(images, "(b k) c h w -> b c k h w", k=video.shape[2])


class PlaceEmbedding(nn.Linear):
    """A linear map of every cell's coordinates.

    Each feature belongs to one axis, so rows and columns are mapped apart and then added: far less
    work than mapping every cell, with the same weights.
    """

    def forward(self, reference: Reference, rows: int, columns: int) -> Tensor:  # type: ignore[override]
        """N frames of reference -> (N, C, rows, columns)."""
        by_axis = rearrange(self.weight, "c (r a f) -> a c (r f)", a=2, r=reference.zoom.shape[2])
        down = F.linear(reference.waves(0, rows), by_axis[0], self.bias)  # N h C
        across = F.linear(reference.waves(1, columns), by_axis[1])  # N w C
        return maps_first(down.unsqueeze(2) + across.unsqueeze(1))
