"""Video features for FVD from an I3D network that the user supplies.

Optional. The file is the TorchScript I3D that StyleGAN-V and its followers use (Kinetics-400
logits). It is a program: run only a file that you trust.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of
from t2vgan.video import to_video

SIDE = 224
BATCH_SIZE = 4
PROTOCOL = (
    "all frames, stretched to 224x224 (bilinear, no corner alignment), values -1..1, called with "
    "rescale=False, resize=False, return_features=True"
)


class VideoFeatureExtractor:
    """A TorchScript network that maps videos to features."""

    def __init__(self, path: Path | str, device: torch.device | str) -> None:
        if not Path(path).is_file():
            raise UserError(f"fvd_weights={path}: no such file; give a TorchScript I3D")
        try:
            self.network = torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise UserError(f"fvd_weights={path}: not TorchScript ({_first_line(error)})") from None
        self.path, self.device = path, device
        self.sha256 = sha256_of(path)

    @torch.no_grad()
    def extract(self, frames: np.ndarray) -> np.ndarray:
        """Compute features (N, F) of frames (N, T, H, W, 3) uint8."""
        features = []
        for start in range(0, len(frames), BATCH_SIZE):
            video = to_video(torch.from_numpy(frames[start : start + BATCH_SIZE]).to(self.device))
            flat = rearrange(video, "b c t h w -> (b t) c h w")
            large = F.interpolate(flat, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            video = rearrange(large, "(b t) c h w -> b c t h w", b=len(video)).contiguous()
            features.append(self._call(video).cpu())
        return torch.cat(features).numpy()

    def _call(self, video: torch.Tensor) -> torch.Tensor:
        try:
            features = self.network(video, rescale=False, resize=False, return_features=True)
        except RuntimeError as error:
            reason = _first_line(error)
            raise UserError(
                f"fvd_weights={self.path}: cannot read these clips ({reason})"
            ) from None
        if not isinstance(features, torch.Tensor) or features.shape[:1] != video.shape[:1]:
            raise UserError(f"fvd_weights={self.path}: gives no row of features for each clip")
        return features.float().flatten(1)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
