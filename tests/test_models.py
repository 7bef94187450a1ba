"""Networks: sizes, shapes, contracts at their doors."""

import math

import pytest
import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, NotebookGanConfig
from t2vgan.errors import UserError
from t2vgan.models import build_discriminator, build_generator
from t2vgan.models.layers import (
    MovingCoordinates,
    TextEncoder,
    cosine_basis,
    join_patches,
    split_patches,
)

SMALL = ClipGanConfig(latent_size=5, text_size=6, hidden_size=14, channels=4)
# All sizes differ, so that no permuted tensor passes by accident.
B, L, K, H, W, R, VOCABULARY = 7, 3, 4, 32, 48, 2, 11


def prompts() -> tuple[Tensor, Tensor]:
    token_ids = torch.randint(1, VOCABULARY, (B, L))
    token_ids[0, 1:] = 0
    return token_ids, token_ids > 0


def times() -> Tensor:
    return torch.rand(B, K).sort(1).values


def small_generator() -> nn.Module:
    return build_generator(SMALL, height=H, width=W, vocabulary_size=VOCABULARY)


def small_discriminator() -> nn.Module:
    return build_discriminator(
        SMALL,
        height=H,
        width=W,
        vocabulary_size=VOCABULARY,
        frames_per_clip=K,
        recovered_latents=R,
    )


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_notebook_networks_have_the_published_sizes():
    sizes = {"height": 64, "width": 64, "vocabulary_size": 19}
    generator = build_generator(NotebookGanConfig(), **sizes)
    discriminator = build_discriminator(
        NotebookGanConfig(), **sizes, frames_per_clip=1, recovered_latents=0
    )
    assert num_parameters(generator) == 2_477_251
    assert num_parameters(discriminator) == 675_265


def test_notebook_frames_have_their_own_latents_and_do_not_see_each_other():
    generator = build_generator(
        NotebookGanConfig(), height=64, width=64, vocabulary_size=VOCABULARY
    )
    latents = torch.randn(2, *generator.latent_shape(3))
    token_ids, token_mask = (part[:2] for part in prompts())
    video = generator(latents, token_ids, token_mask, torch.zeros(2, 3))
    assert video.shape == (2, 3, 3, 64, 64)
    changed = latents.clone()
    changed[0, 1] += 1
    moved = generator(changed, token_ids, token_mask, torch.zeros(2, 3)) != video
    assert moved.flatten(3).any(-1).any(1).tolist() == [[False, True, False], [False] * 3]


def test_clip_gan_shapes():
    token_ids, token_mask = prompts()
    generator = small_generator()
    latents = torch.randn(B, *generator.latent_shape(K))
    video = generator(latents, token_ids, token_mask, times())
    assert video.shape == (B, 3, K, H, W)
    logits, recovered = small_discriminator()(video, token_ids, token_mask, times())
    assert logits.shape == (B,)
    assert recovered.shape == (B, R)


def test_no_more_latents_are_recovered_than_there_are():
    sizes = {"height": H, "width": W, "vocabulary_size": VOCABULARY, "frames_per_clip": K}
    with pytest.raises(UserError, match=r"recovered_latents=6 must be at most .* 5"):
        build_discriminator(SMALL, **sizes, recovered_latents=6)


def test_heads_are_in_float32_where_the_trunk_is_not():
    """bfloat16 would round a logit near 16 to a multiple of 1/8."""
    token_ids, token_mask = prompts()
    with torch.autocast("cpu", torch.bfloat16):
        judged = small_discriminator()(torch.randn(B, 3, K, H, W), token_ids, token_mask, times())
    assert [part.dtype for part in judged] == [torch.float32] * 2
    assert (judged[0] != judged[0].bfloat16()).any()


def test_a_frame_does_not_depend_on_which_other_frames_are_drawn():
    torch.manual_seed(0)
    generator = small_generator().double()
    token_ids, token_mask = prompts()
    latents = torch.randn(B, *generator.latent_shape(K), dtype=torch.float64)
    moments = times().double()
    together = generator(latents, token_ids, token_mask, moments)
    for k in range(K):
        alone = generator(latents, token_ids, token_mask, moments[:, k : k + 1])
        torch.testing.assert_close(alone[:, :, 0], together[:, :, k])


@pytest.mark.parametrize("argument", ["latents", "token_ids", "times"])
def test_the_generator_listens_to_every_input(argument):
    torch.manual_seed(0)
    generator = small_generator()
    token_ids, token_mask = prompts()
    inputs = {
        "latents": torch.randn(B, *generator.latent_shape(K)),
        "token_ids": token_ids,
        "token_mask": token_mask,
        "times": times(),
    }
    before = generator(**inputs)
    inputs[argument] = (
        torch.where(token_mask, token_ids % (VOCABULARY - 1) + 1, 0)
        if argument == "token_ids"
        else inputs[argument] * 0.5
    )
    assert (generator(**inputs) - before).abs().max() > 1e-4


@pytest.mark.parametrize("argument", ["video", "token_ids", "times"])
def test_the_discriminator_listens_to_every_input(argument):
    torch.manual_seed(0)
    discriminator = small_discriminator()
    token_ids, token_mask = prompts()
    inputs = {
        "video": torch.randn(B, 3, K, H, W),
        "token_ids": token_ids,
        "token_mask": token_mask,
        "times": times(),
    }
    before, _ = discriminator(**inputs)
    inputs[argument] = (
        torch.where(token_mask, token_ids % (VOCABULARY - 1) + 1, 0)
        if argument == "token_ids"
        else inputs[argument] * 0.5
    )
    after, _ = discriminator(**inputs)
    assert ((after - before).abs() > 1e-6).all()


def test_the_discriminator_notices_the_order_of_frames():
    torch.manual_seed(0)
    discriminator = small_discriminator()
    token_ids, token_mask = prompts()
    video = torch.randn(B, 3, K, H, W)
    moments = times()
    forwards, _ = discriminator(video, token_ids, token_mask, moments)
    backwards, _ = discriminator(video.flip(2), token_ids, token_mask, moments)
    assert ((forwards - backwards).abs() > 1e-6).all()


def test_frames_in_the_wrong_layout_are_refused():
    token_ids, token_mask = prompts()
    with pytest.raises(ValueError, match=r"video has shape .* expected \(7, 3, 4, 32, 48\)"):
        small_discriminator()(torch.randn(B, K, 3, H, W), token_ids, token_mask, times())


@pytest.mark.parametrize(("height", "width", "field"), [(40, 48, "height"), (32, 8, "width")])
def test_sides_must_be_multiples_of_four_patches(height, width, field):
    with pytest.raises(UserError, match=rf"{field}=\d+ must be a multiple of .* = 16"):
        build_generator(SMALL, height=height, width=width, vocabulary_size=VOCABULARY)


def test_patches_join_to_what_was_split_and_keep_their_place():
    video = torch.randn(2, 3, 5, 8, 12)
    patches = split_patches(video, 4)
    assert patches.shape == (10, 2, 3, 48)
    torch.testing.assert_close(join_patches(patches, 4, num_frames=5), video)
    corner = video[1, :, 2, 4:8, 8:12].flatten()  # clip 1, frame 2, patch (1, 2)
    torch.testing.assert_close(patches[1 * 5 + 2, 1, 2], corner)


def test_the_cosine_basis_is_orthogonal_and_damped():
    basis = cosine_basis(4)
    assert basis.shape == (48, 48)
    products = basis @ basis.T
    damping = torch.tensor([1 / (1 + u + v) for u in range(4) for v in range(4)])
    torch.testing.assert_close(products, torch.diag(damping.square().repeat(3)))
    torch.testing.assert_close(basis[16, 16:32], torch.full((16,), 0.25))  # green's mean
    assert (basis[16, :16] == 0).all()


def test_moving_a_reference_moves_the_waves_with_it():
    coordinates = MovingCoordinates(8, 8, code_size=1, num_references=1)
    with torch.no_grad():
        coordinates.to_reference.weight.zero_()
        coordinates.to_reference.bias.zero_()
        still = coordinates(torch.zeros(1, 1))
        shift = 2 * 2 / 8  # two cells of eight, in half frames
        coordinates.to_reference.bias[2] = math.atanh(shift / coordinates.MAX_SHIFT)
        moved = coordinates(torch.zeros(1, 1))
    torch.testing.assert_close(moved[:, :, 2:], still[:, :, :-2])  # to the right


def test_padding_does_not_change_a_prompt():
    torch.manual_seed(0)
    encoder = TextEncoder(vocabulary_size=VOCABULARY, text_size=6)
    short = torch.tensor([[3, 5]])
    padded = torch.tensor([[3, 5, 0, 0]])
    torch.testing.assert_close(encoder(short, short > 0), encoder(padded, padded > 0))
