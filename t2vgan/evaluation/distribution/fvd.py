"""Video features for FVD from a network that the user supplies.

The network is either the TorchScript I3D of StyleGAN-V and its followers (Kinetics-400 logits),
which is a program, so only a trusted file may be run; or torchvision's R3D-18, whose weights are
only numbers.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.checkpoint.tensor_files import read_tensors
from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of
from t2vgan.video import to_video

SIDE = 224
BATCH_SIZE = 4
R3D_SIDE = 112
R3D_MEAN, R3D_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # torchvision's
R3D_PROTOCOL = (
    "torchvision r3d_18, pooled features before the last layer (512), all frames, stretched to"
    " 112x112 (bilinear, no corner alignment), normalised as on Kinetics-400"
)
PROTOCOL = (
    "all frames, stretched to 224x224 (bilinear, no corner alignment), values -1..1, called with "
    "rescale=False, resize=False, return_features=True"
)


class VideoFeatureExtractor:
    """A TorchScript network that maps videos to features."""

    protocol = PROTOCOL
    side = SIDE

    def __init__(self, path: Path | str, device: torch.device | str) -> None:
        if not Path(path).is_file():
            raise UserError(f"fvd_weights={path}: no such file; give a TorchScript I3D")
        try:
            self.network = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise UserError(f"fvd_weights={path}: not TorchScript ({_last_line(error)})") from None
        self.path, self.device = path, device
        self.sha256 = sha256_of(path)

    @torch.no_grad()
    def extract(self, frames: np.ndarray) -> np.ndarray:
        """Compute features (N, F) of frames (N, T, H, W, 3) uint8."""
        features = []
        for start in range(0, len(frames), BATCH_SIZE):
            video = to_video(torch.from_numpy(frames[start : start + BATCH_SIZE]).to(self.device))
            flat = rearrange(video, "b c t h w -> (b t) c h w")
            large = F.interpolate(
                flat, size=(self.side, self.side), mode="bilinear", align_corners=False
            )
            video = rearrange(large, "(b t) c h w -> b c t h w", b=len(video)).contiguous()
            features.append(self._call(video).cpu())
        return torch.cat(features).numpy()

    def _call(self, video: torch.Tensor) -> torch.Tensor:
        try:
            features = self.network(video, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            reason = _last_line(error)
            raise UserError(
                f"fvd_weights={self.path}: the network fails on these clips ({reason})"
            ) from None
        if not isinstance(features, torch.Tensor) or features.shape[:1] != video.shape[:1]:
            raise UserError(f"fvd_weights={self.path}: must return a row of features per clip")
        return features.float().flatten(1)


class R3DFeatureExtractor(VideoFeatureExtractor):
    """Torchvision's R3D-18 with the user's weights."""

    protocol = R3D_PROTOCOL
    side = R3D_SIDE

    def __init__(
        self, path: Path | str, tensors: Mapping[str, Tensor], device: torch.device | str
    ) -> None:
        try:
            from torchvision.models.video import r3d_18
        except ImportError:
            raise UserError(
                f"fvd_weights={path}: R3D-18 needs torchvision: pip install torchvision"
            ) from None
        network = r3d_18(num_classes=len(tensors["fc.bias"]))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = _last_line(error)
            raise UserError(f"fvd_weights={path}: not an R3D-18 ({reason})") from None
        network.fc = nn.Identity()
        self.network = network.to(device).eval()
        self.path, self.device = path, device
        self.sha256 = sha256_of(path)

    def _call(self, video: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(values, device=video.device)[:, None, None, None]
            for values in (R3D_MEAN, R3D_STD)
        )
        return self.network(((video + 1) / 2 - mean) / std).float()


def open_video_network(path: Path | str, device: torch.device | str) -> VideoFeatureExtractor:
    """Open a TorchScript I3D, or a state dict of torchvision's R3D-18.

    Raises:
        UserError: the file is missing, or is neither.
    """
    if Path(path).is_file() and (tensors := _read_state(Path(path))) is not None:
        if "fc.bias" not in tensors or "stem.0.weight" not in tensors:
            raise UserError(
                f"fvd_weights={path}: a state dict, but not of torchvision's r3d_18; give that, or"
                " a TorchScript I3D"
            )
        return R3DFeatureExtractor(path, tensors, device)
    return VideoFeatureExtractor(path, device)


def _read_state(path: Path) -> Mapping[str, Tensor] | None:
    """Read a state dict without executing code; None if it is none."""
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
        return None
    is_state = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    return state if is_state else None


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
