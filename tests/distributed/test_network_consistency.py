"""One flipped bit anywhere shows."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from t2vgan.distributed.consistency import (
    check_network_consistency,
    checksum,
    find_mismatched_ranks,
)
from t2vgan.errors import RunStoppedError

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(place=st.integers(0, 59), bit=st.integers(0, 63))
def test_any_flipped_bit_changes_the_checksum(dtype, place, bit):
    tensor = torch.arange(60).view(3, 4, 5).to(dtype)
    changed = tensor.clone()
    data = changed.view(-1).view(torch.uint8)
    size = tensor.element_size()
    data[place * size + bit // 8 % size] ^= 1 << (0 if dtype == torch.bool else bit % 8)
    assert checksum(changed) != checksum(tensor)


def test_two_elements_that_change_places_change_the_checksum():
    assert checksum(torch.tensor([1.0, 2.0])) != checksum(torch.tensor([2.0, 1.0]))


def test_values_decide_not_the_memory_format():
    video = torch.randn(2, 3, 4, 5, 6)
    assert checksum(video.to(memory_format=torch.channels_last_3d)) == checksum(video)
    assert checksum(torch.tensor(3.0)) == checksum(torch.tensor([3.0]))


def test_the_minority_is_named_and_of_two_the_higher_rank():
    names = ["a", "b", "c"]
    assert find_mismatched_ranks(names, [[1, 2, 3]] * 4) == []
    assert find_mismatched_ranks(names, [[1, 2, 3], [1, 5, 3]]) == [("b", [1])]
    by_rank = [[1, 9, 3], [1, 2, 3], [1, 2, 4], [1, 2, 4]]
    assert find_mismatched_ranks(names, by_rank) == [("b", [0]), ("c", [2, 3])]


def check(*offsets: dict[int, int]) -> None:
    """Check a network over ranks whose checksums differ by these numbers, by place."""

    def gather(own: list[int]) -> list[list[int]]:
        assert all(type(value) is int for value in own)
        return [[v + offset.get(i, 0) for i, v in enumerate(own)] for offset in offsets]

    ranks = SimpleNamespace(world_size=len(offsets), gather_objects=gather)
    check_network_consistency(ranks, {"ema": nn.BatchNorm1d(2)}, 7)


def test_a_buffer_that_differs_stops_every_rank():
    last = len(nn.BatchNorm1d(2).state_dict()) - 1
    with pytest.raises(RunStoppedError, match=r"step 7: ema\.num_batches_tracked .* on rank 2;"):
        check({}, {}, {last: 1})
    with pytest.raises(RunStoppedError, match=r"ema\.weight .* on rank 1 \(and 1 other tensors\);"):
        check({}, {0: 1, last: 1})
    check({}, {})
