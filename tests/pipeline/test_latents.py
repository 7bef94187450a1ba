import math

import pytest
import torch

from t2vgan.pipeline.latents import draw_latents, slerp


def test_latents_belong_to_their_seeds():
    latents = draw_latents((3, 4), [5, 6, 5])
    assert latents.shape == (3, 3, 4)
    assert torch.equal(latents[0], latents[2])
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(draw_latents((3, 4), [6])[0], latents[1])
    assert torch.equal(latents[1], torch.randn(3, 4, generator=torch.Generator().manual_seed(6)))


def test_truncation_scales_latents_towards_their_mean():
    latents = draw_latents((4,), [1, 2])
    assert torch.equal(draw_latents((4,), [1, 2], 1.0), latents)
    torch.testing.assert_close(draw_latents((4,), [1, 2], 0.25), latents / 4)
    assert not draw_latents((4,), [1, 2], 0.0).any()


def test_slerp_follows_the_circle_between_two_directions():
    start, end = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    third = slerp(start, end, torch.tensor([1 / 3]))
    expected = [[math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)]]
    torch.testing.assert_close(third, torch.tensor(expected))


@pytest.mark.parametrize("shape", [(5, 8), (5, 3, 7)])
def test_slerp_begins_and_ends_exactly_and_keeps_lengths(shape):
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, *shape, generator=generator)
    assert torch.equal(slerp(start, end, torch.zeros(5)), start)
    assert torch.equal(slerp(start, end, torch.ones(5)), end)
    start, end = (torch.nn.functional.normalize(code.flatten(1)) for code in (start, end))
    between = slerp(start, end, torch.linspace(0, 1, 5))
    torch.testing.assert_close(between.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("factor", [1.0, 3.0, -2.0])
def test_slerp_without_an_arc_is_a_line(factor):
    start = torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    between = slerp(start, factor * start, torch.tensor([0.25]))
    torch.testing.assert_close(between, (3 + factor) / 4 * start, atol=1e-6, rtol=1e-3)
