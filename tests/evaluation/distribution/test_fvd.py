"""FVD features come from a network of the user's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models.video import R3D_18_Weights, r3d_18

from t2vgan.checkpoint.tensor_files import write_tensors
from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.fvd import R3D_PROTOCOL, open_video_network
from t2vgan.utils.files import sha256_of


class ToyI3D(torch.nn.Module):
    """Imitate the TorchScript I3D with channel means of the first frame."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale and not resize and return_features  # noqa: PT018
        assert x.shape[3] == 224 and x.shape[4] == 224  # noqa: PT018
        return x[:, :, 0].mean(dim=(2, 3))


class MeanOfAll(torch.nn.Module):
    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return x.mean(dim=(0, 2, 3, 4))[None]


class Longer(torch.nn.Module):
    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return x.reshape(2, -1, 9999)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (MeanOfAll, "must return a row of features per clip"),
        (Longer, r"the network fails on these clips \(.*9999"),
    ],
)
def test_networks_that_do_not_fit_the_clips_are_named(tmp_path, network, message):
    torch.jit.script(network()).save(tmp_path / "i3d.pt")
    with pytest.raises(UserError, match=message):
        open_video_network(tmp_path / "i3d.pt", "cpu").extract(np.zeros((2, 1, 8, 8, 3), np.uint8))


def test_fvd_features_come_from_the_users_file(tmp_path):
    path = tmp_path / "i3d.pt"
    torch.jit.script(ToyI3D()).save(path)
    frames = np.zeros((5, 4, 10, 12, 3), np.uint8)
    frames[1] = (255, 0, 51)
    network = open_video_network(path, "cpu")
    assert network.sha256 == sha256_of(path)
    features = network.extract(frames)
    assert features.shape == (5, 3)
    assert features[1] == pytest.approx([1, -1, -0.6], abs=1e-5)
    assert features[[0, 2]] == pytest.approx(-1)
    with pytest.raises(UserError, match="no such file"):
        open_video_network(tmp_path / "nowhere.pt", "cpu")
    path.write_bytes(b"not a program")
    with pytest.raises(UserError, match="not TorchScript"):
        open_video_network(path, "cpu")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_of_r3d_18_are_a_second_door(tmp_path, suffix):
    torch.manual_seed(0)
    weights, path = r3d_18().state_dict(), tmp_path / f"r3d.{suffix}"
    if suffix == "pth":
        torch.save(weights, path)
    else:
        write_tensors(path, weights)
    network = open_video_network(path, "cpu")
    assert network.protocol == R3D_PROTOCOL
    assert network.sha256 == sha256_of(path)
    for name, tensor in network.network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    if suffix == "pth":
        frames = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
        features, expected = network.extract(frames), features_of_torchvision(weights, frames)
        torch.testing.assert_close(torch.from_numpy(features), expected)
        assert not np.allclose(features[0], features[1])


def features_of_torchvision(weights: dict[str, torch.Tensor], frames: np.ndarray) -> torch.Tensor:
    """Compute pooled features with the normalisation that torchvision publishes."""
    network = r3d_18()
    network.load_state_dict(weights)
    network.fc = torch.nn.Identity()
    published = R3D_18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(x)[:, None, None, None] for x in (published.mean, published.std))
    pictures = torch.from_numpy(frames).permute(0, 1, 4, 2, 3) / 255
    resized = F.interpolate(pictures.flatten(0, 1), size=(112, 112), mode="bilinear")
    video = resized.unflatten(0, pictures.shape[:2]).transpose(1, 2)
    with torch.no_grad():
        return network.eval()((video - mean) / std)


def test_other_weights_are_named(tmp_path):
    for name in ("weight", "fc.bias"):
        torch.save({name: torch.zeros(3)}, tmp_path / "other.pth")
        with pytest.raises(UserError, match="a state dict, but not of torchvision's r3d_18"):
            open_video_network(tmp_path / "other.pth", "cpu")
    torch.save({"fc.bias": torch.zeros(3), "stem.0.weight": torch.zeros(1)}, tmp_path / "cut.pth")
    with pytest.raises(UserError, match="not an R3D-18"):
        open_video_network(tmp_path / "cut.pth", "cpu")


class Attack:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_program_in_a_file_of_weights_is_not_run(tmp_path, capsys):
    torch.save({"fc.bias": Attack()}, tmp_path / "attack.pth")
    with pytest.raises(UserError, match="not TorchScript"):
        open_video_network(tmp_path / "attack.pth", "cpu")
    assert "executed" not in capsys.readouterr().out
