"""Losses against their closed forms."""

import math

import pytest
import torch

from t2vgan.gan.losses import (
    OBJECTIVES,
    PENALTY_SHIFT,
    approximate_gradient_penalty,
    gradient_penalty,
    latent_recovery,
    mismatched,
    mode_seeking,
)

REAL = torch.tensor([1.5, -0.5, 0.0], dtype=torch.float64)
FAKE = torch.tensor([-1.0, 2.0, 0.0], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


EXPECTED = {
    "relativistic": (
        lambda r, f: -math.log(sigmoid(r - f)),
        lambda r, f: -math.log(sigmoid(f - r)),
    ),
    "non_saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
    "bce": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_equal_their_closed_forms(name):
    objective = OBJECTIVES[name]
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    for side, expected in zip(
        (objective.discriminator, objective.generator), EXPECTED[name], strict=True
    ):
        values = side(REAL, FAKE)
        assert values.shape == (3,)
        assert values.tolist() == pytest.approx([expected(r, f) for r, f in pairs])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_side_wants_what_it_should(name):
    objective = OBJECTIVES[name]
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    objective.discriminator(real, fake).sum().backward()
    assert (real.grad < 0).all()  # descending raises the real logits
    assert (fake.grad > 0).all()
    fake.grad = None
    objective.generator(REAL, fake).sum().backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_is_relative_says_the_truth(name):
    objective = OBJECTIVES[name]
    depends = [
        not torch.allclose(side(REAL, FAKE), side(REAL + 1, FAKE + 1))
        for side in (objective.discriminator, objective.generator)
    ]
    assert depends == [not objective.is_relative] * 2


def test_mismatched_is_the_pairing_of_right_and_wrong_prompt_where_they_differ():
    is_other = torch.tensor([[True], [True], [False]])
    values = mismatched(REAL, FAKE.unsqueeze(1), is_other).tolist()
    assert values[:2] == pytest.approx([-math.log(sigmoid(2.5)), -math.log(sigmoid(-2.5))])
    assert values[2] == 0


def test_mismatched_is_the_cross_entropy_of_the_right_prompt_among_several():
    real = REAL.clone().requires_grad_()
    others = torch.tensor([[-1.0, 0.5, 9.0], [2.0, -2.0, 9.0], [1.0, 1.0, 1.0]], dtype=real.dtype)
    is_other = torch.tensor([[True, True, False]] * 2 + [[False] * 3])
    losses = mismatched(real, others, is_other)
    for row in range(2):
        logits = torch.cat([REAL[row : row + 1], others[row, :2]])
        assert losses[row].item() == pytest.approx(-logits.log_softmax(0)[0].item())
    losses.sum().backward()
    assert losses[2] == 0
    assert real.grad[2] == 0


def test_latent_recovery_is_the_mean_squared_error_of_the_first_latents():
    recovered = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    latents = torch.tensor([[1.0, 0.0, 9.0], [3.0, -1.0, 9.0]])
    assert latent_recovery(recovered, latents).tolist() == [2.0, 4.5]


def test_mode_seeking_asks_for_differences_as_large_as_those_from_real_clips():
    differences = torch.zeros(4, 2, 2, 1, 1)
    differences[1], differences[2, 0], differences[3] = -0.5, 2.0, 3.0  # on average 0, 0.5, 1, 3
    from_real = torch.full_like(differences, -2.0).requires_grad_()
    latents = torch.tensor([[1.0, -3.0], [0.5, 0.5], [-4.0, 0.0], [1.0, 1.0]])  # 2, 0.5, 2, 1
    found = mode_seeking(differences.requires_grad_(), from_real, latents)
    expected = [100 - 1 / 1.01, 1 / 1.01 - 1 / 4.01, 1 / 0.51 - 1 / 1.01, 0]
    assert found.tolist() == pytest.approx(expected)
    found.sum().backward()
    assert from_real.grad is None
    assert not differences.grad[3].any(), "clips that differ enough are left alone"


def test_gradient_penalty_of_a_linear_discriminator_is_its_squared_weight():
    weight = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    video = torch.randn(6, 3, 2, 4, 5, dtype=torch.float64)
    penalty, more = gradient_penalty(lambda x: ((x * weight).flatten(1).sum(1), 2 * x), video)
    assert torch.equal(more, 2 * video)
    assert penalty.shape == (6,)
    torch.testing.assert_close(penalty, weight.square().sum().expand(6))


def test_gradient_penalty_is_per_clip():
    """logits = |x|^2 / 2 has gradient x, so the penalty of each clip is its own |x|^2."""
    video = torch.randn(4, 3, 2, 4, 5, dtype=torch.float64)
    penalty, _ = gradient_penalty(lambda x: (x.square().flatten(1).sum(1) / 2, x), video)
    torch.testing.assert_close(penalty, video.square().flatten(1).sum(1))


def test_gradient_penalty_trains_by_second_derivatives():
    """d/dw of |d(w . sin x)/dx|^2 against central differences."""
    x = torch.randn(2, 1, 1, 2, 3, dtype=torch.float64)
    w = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    def penalty(weight: torch.Tensor) -> torch.Tensor:
        return gradient_penalty(lambda y: ((y.sin() * weight).flatten(1).sum(1), y), x)[0].sum()

    penalty(w).backward()
    step = 1e-6
    for index in range(w.numel()):
        shift = torch.zeros_like(w).flatten()
        shift[index] = step
        shift = shift.view_as(w)
        numeric = (penalty(w.detach() + shift) - penalty(w.detach() - shift)) / (2 * step)
        assert w.grad.flatten()[index].item() == pytest.approx(numeric.item(), rel=1e-6)


def test_approximate_penalty_of_a_linear_discriminator_is_exact_in_the_mean():
    """Directions sqrt(N) e_i have the second moments of normal noise: their mean is exact."""
    weight, video = torch.randn(2, 30, dtype=torch.float64)
    directions = 30**0.5 * torch.eye(30, dtype=torch.float64)
    logits = (video @ weight).expand(30)
    values = approximate_gradient_penalty(logits, (video + PENALTY_SHIFT * directions) @ weight)
    torch.testing.assert_close(values, 30 * weight.square())
    torch.testing.assert_close(values.mean(), weight.square().sum())


def test_approximate_penalty_of_a_quadratic_discriminator():
    """D = |x|^2 / 2: (D(x + e n) - D(x)) / e = x . n + e |n|^2 / 2."""
    video, noise = torch.randn(2, 6, 30, dtype=torch.float64)
    logits, shifted = (v.square().sum(1) / 2 for v in (video, video + PENALTY_SHIFT * noise))
    expected = (video * noise).sum(1) + PENALTY_SHIFT / 2 * noise.square().sum(1)
    torch.testing.assert_close(approximate_gradient_penalty(logits, shifted), expected.square())
