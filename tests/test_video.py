import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.video import to_frames, to_video

SHAPE = (2, 5, 4, 7, 3)  # B, T, H, W, C: all different, so that no swap of axes goes unseen


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).expand(-1, -1, -1, -1, 3)
    assert torch.equal(to_frames(to_video(levels)), levels)


def test_a_value_keeps_its_place():
    frames = torch.zeros(SHAPE, dtype=torch.uint8)
    frames[1, 4, 2, 6, 0] = 255
    video = to_video(frames)
    assert video.shape == (2, 3, 5, 4, 7)
    assert video.dtype == torch.float32
    assert (video == 1).nonzero().tolist() == [[1, 0, 4, 2, 6]]
    assert (video == -1).sum() == video.numel() - 1


def test_memory_order_is_channels_last():
    frames = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    assert to_video(frames).is_contiguous(memory_format=torch.channels_last_3d)
    assert to_frames(to_video(frames)).is_contiguous()


def test_values_round_and_clamp():
    values = torch.tensor([-7.0, -1.0, -0.997, 0.0, 0.9999, 1.0, 3.0])
    video = values.reshape(1, 1, 1, 1, 7).expand(1, 3, 1, 1, 7)
    # 127.5 * (x + 1) is 0.3825 for -0.997 and 127.5 for 0, which rounds to the even 128.
    assert to_frames(video)[0, 0, 0, :, 2].tolist() == [0, 0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_floating_point_type_is_read(dtype):
    frames = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2, 1).expand(1, 1, 1, 2, 3)
    assert torch.equal(to_frames(to_video(frames).to(dtype)), frames)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0))
def test_round_trip_of_any_size(num_clips, num_frames, height, width, seed):
    random = torch.Generator().manual_seed(seed % 2**63)
    shape = (num_clips, num_frames, height, width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    assert torch.equal(to_frames(to_video(frames)), frames)


def test_inputs_are_untouched():
    frames = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    video = to_video(frames)
    before = frames.clone(), video.clone()
    to_video(frames), to_frames(video)
    assert torch.equal(frames, before[0])
    assert torch.equal(video, before[1])


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 3, 5, 4, 7, dtype=torch.uint8),
        torch.zeros(5, 4, 7, 3, dtype=torch.uint8),
        torch.zeros(SHAPE),
    ],
)
def test_to_video_refuses_other_layouts(frames):
    with pytest.raises(ValueError, match=r"\(B, T, H, W, 3\) uint8.*got"):
        to_video(frames)


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros(SHAPE),
        torch.zeros(3, 5, 4, 7),
        torch.zeros(2, 3, 5, 4, 7, dtype=torch.uint8),
    ],
)
def test_to_frames_refuses_other_layouts(video):
    with pytest.raises(ValueError, match=r"\(B, 3, T, H, W\) floating point.*got"):
        to_frames(video)
