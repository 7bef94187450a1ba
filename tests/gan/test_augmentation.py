"""Augmentation: what each kind does, alike for a pair, and derivatives of any order."""

import numpy as np
import pytest
import torch
from torch import Tensor

from t2vgan.config import TrainConfig
from t2vgan.gan.augmentation import (
    Augmentation,
    change_colour,
    choose_share,
    cut_out,
    draw_augmentation,
)

B, C, T, H, W = 3, 3, 2, 16, 24
NOTHING = [0.0, 0.0, torch.inf, torch.inf, 0.0, 0.0]


def video(seed: int = 0) -> Tensor:
    return torch.randn(B, C, T, H, W, generator=torch.Generator().manual_seed(seed)).double()


def augmentation() -> Augmentation:
    units = torch.tensor([-0.5, 0.25, 0.5]).view(3, 1, 1, 1).double()
    return Augmentation(units, 0.3 + 0 * units)


def draws(num_clips: int = 4000, share: float = 0.5, **place: int) -> np.ndarray:
    return draw_augmentation(**({"seed": 0, "step": 0} | place), num_clips=num_clips, share=share)


def test_without_a_draw_nothing_changes():
    clips = video()
    assert augmentation()(clips, torch.from_numpy(draws(B, 0.0))) is clips
    torch.testing.assert_close(augmentation()(clips, torch.tensor([NOTHING] * B)), clips)


def test_a_shift_moves_whole_pixels_and_repeats_the_border():
    clips, draw = video(), torch.tensor([[2 / H, -3 / W, *NOTHING[2:]]] * B).double()
    shifted = augmentation()(clips, draw)
    close = torch.testing.assert_close
    close(shifted[..., 2:, :-3], clips[..., :-2, 3:])
    close(shifted[..., :2, :-3], clips[..., :1, 3:].expand(-1, -1, -1, 2, -1))
    close(shifted[..., 2:, -3:], clips[..., :-2, -1:].expand(-1, -1, -1, -1, 3))


def test_colour_changes_brightness_and_contrast_about_the_clips_mean():
    clips, std = video(), torch.full((3, 1, 1, 1), 0.25).double()
    changed = change_colour(clips, torch.tensor([[1.0, -1.0]] * B).double(), std)
    mean = clips.mean((2, 3, 4), keepdim=True)
    torch.testing.assert_close(changed, mean + (clips - mean) / 1.5 + 0.5 * 0.25)


def test_a_cut_out_place_shows_the_datas_mean_in_all_frames():
    centre = torch.tensor([[*NOTHING[:2], 0.5, 0.5, 0.0, 0.0]] * B)
    cut, clips = augmentation()(video(), centre), video()
    is_cut = (cut != clips).all(dim=1).all(dim=1)  # B H W
    rows, columns = slice(6, 10), slice(9, 15)
    assert is_cut[:, rows, columns].all()
    assert is_cut.sum() == B * 4 * 6
    assert torch.equal(cut[..., rows, columns], augmentation().mean.expand(B, -1, T, 4, 6))
    assert cut_out(torch.zeros(1, 2), H, W).sum() == H * W - 2 * 3, "less at the border"


def test_draws_depend_on_the_place_and_stay_small():
    found = draws()
    np.testing.assert_array_equal(found, draws())
    assert not np.array_equal(found, draws(step=1))
    assert not np.array_equal(found, draws(seed=1))
    assert np.abs(found[:, :2]).max() <= 1 / 8
    shares = [(found[:, :2] != 0).any(1), np.isfinite(found[:, 2]), (found[:, 4:] != 0).any(1)]
    np.testing.assert_allclose(np.mean(shares, axis=1), 0.5, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(shares), np.eye(3), atol=0.06)
    every = draws(share=1.0) / [1 / 8, 1 / 8, 1, 1, 1, 1]
    np.testing.assert_allclose(every.mean(0), [0, 0, 0.5, 0.5, 0, 0], atol=0.04)
    np.testing.assert_allclose(np.corrcoef(every.T), np.eye(6), atol=0.06)


def test_clips_of_a_pair_are_augmented_alike_and_all_frames_too():
    rows = torch.from_numpy(draws(B, 1.0))
    still = video()[:, :, :1].expand(-1, -1, T, -1, -1)
    found = augmentation()(still, rows)
    assert torch.equal(found[:, :, 0], found[:, :, 1])
    pair = augmentation()(torch.cat([still, still]), torch.cat([rows, rows]))
    assert torch.equal(pair[:B], pair[B:])


def test_first_and_second_derivatives_equal_finite_differences():
    rows = torch.from_numpy(draws(1, 1.0)).double()
    clip = video()[:1, :, :1, :4, :4].clone().requires_grad_(True)
    function = lambda clip: augmentation()(clip, rows).square()  # noqa: E731
    assert torch.autograd.gradcheck(function, clip)
    assert torch.autograd.gradgradcheck(function, clip)


@pytest.mark.parametrize(
    ("augment", "num_clips", "share"),
    [("auto", 300, 0.5), ("auto", 2000, 0.0), (0.2, 10**6, 0.2), (0.0, 10, 0.0)],
)
def test_few_clips_are_augmented_by_default(augment, num_clips, share):
    assert choose_share(TrainConfig(augment=augment), num_clips) == share
