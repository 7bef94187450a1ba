"""The clip GAN: shapes, contracts, and what outputs depend on."""

import pytest
import torch
from torch import nn

from t2vgan.errors import UserError
from t2vgan.models import build_generator
from t2vgan.models.layers import Standardizer
from tests.support.small_networks import (
    FULL,
    KINDS,
    RICH,
    SCENE,
    SMALL,
    VOCABULARY,
    B,
    H,
    K,
    R,
    W,
    prompts,
    small_discriminator,
    small_generator,
    times,
)


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())
def test_clip_gan_shapes(model):
    token_ids, token_mask = prompts()
    generator = small_generator(model)
    latents = torch.randn(B, *generator.latent_shape(K))
    video = generator(latents, token_ids, token_mask, times())
    assert video.shape == (B, 3, K, H, W)
    logits, recovered = small_discriminator(model)(video, token_ids, token_mask, times())
    assert logits.shape == (B,)
    assert recovered.shape == (B, R)


def test_heads_are_in_float32_where_the_trunk_is_not():
    """bfloat16 would round a logit near 16 to a multiple of 1/8."""
    token_ids, token_mask = prompts()
    with torch.autocast("cpu", torch.bfloat16):
        discriminator = small_discriminator(RICH)
        judged = discriminator(torch.randn(B, 3, K, H, W), token_ids, token_mask, times())
    for part in judged:
        assert part.dtype == torch.float32
        assert (part != part.bfloat16()).any()


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_a_frame_does_not_depend_on_which_other_frames_are_drawn(model):
    torch.manual_seed(0)
    generator = small_generator(model).double()
    token_ids, token_mask = prompts()
    latents = torch.randn(B, *generator.latent_shape(K), dtype=torch.float64)
    moments = times().double()
    together = generator(latents, token_ids, token_mask, moments)
    for k in range(K):
        single = generator(latents, token_ids, token_mask, moments[:, k : k + 1])
        torch.testing.assert_close(single[:, :, 0], together[:, :, k])


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("argument", ["latents", "token_ids", "times"])
def test_the_generator_depends_on_every_input(argument, model):
    torch.manual_seed(0)
    generator = small_generator(model)
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


@pytest.mark.parametrize("model", [SMALL, SCENE], ids=["small", "motion"])
@pytest.mark.parametrize("argument", ["video", "token_ids", "times"])
def test_the_discriminator_depends_on_every_input(argument, model):
    torch.manual_seed(0)
    discriminator = small_discriminator(model)
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


def test_the_discriminator_has_second_derivatives():
    """R1 and R2 are gradients of gradients; a fused layer without them would fail here."""
    torch.manual_seed(0)
    discriminator = small_discriminator(SCENE)
    video = torch.randn(B, 3, K, H, W, requires_grad=True)
    logits, _ = discriminator(video, *prompts(), times())
    (gradient,) = torch.autograd.grad(logits.sum(), video, create_graph=True)
    gradient.square().sum().backward()
    for name, parameter in discriminator.motion.named_parameters():
        if "bias" not in name:
            assert parameter.grad.any(), name


def test_the_discriminator_depends_on_the_order_of_frames():
    torch.manual_seed(0)
    discriminator = small_discriminator()
    token_ids, token_mask = prompts()
    video = torch.randn(B, 3, K, H, W)
    moments = times()
    forwards, _ = discriminator(video, token_ids, token_mask, moments)
    backwards, _ = discriminator(video.flip(2), token_ids, token_mask, moments)
    assert ((forwards - backwards).abs() > 1e-6).all()


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())
def test_networks_work_on_standardized_video(model):
    statistics = {"pixel_mean": (-0.7, 0.1, 0.4), "pixel_std": (0.25, 0.5, 0.05)}
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in statistics.values())
    conditions = *prompts(), times()
    torch.manual_seed(0)
    plain = small_generator(model), small_discriminator(model)
    torch.manual_seed(0)
    generator, discriminator = (
        small_generator(model, **statistics),
        small_discriminator(model, **statistics),
    )
    latents = torch.randn(B, *generator.latent_shape(K))
    standardized = plain[0](latents, *conditions)
    video = generator(latents, *conditions)
    torch.testing.assert_close(video, standardized * std + mean)
    expected = plain[1](standardized, *conditions)
    torch.testing.assert_close(discriminator(video, *conditions), expected, rtol=1e-4, atol=1e-4)


def test_no_statistics_change_no_bit_and_no_layout():
    video = torch.randn(B, K, H, W, 3).movedim(4, 1)
    for same in (Standardizer().standardize(video), Standardizer().restore(video)):
        assert torch.equal(same, video)
        assert same.stride() == video.stride()


def test_frames_in_the_wrong_layout_are_refused():
    token_ids, token_mask = prompts()
    with pytest.raises(ValueError, match=r"video has shape .* expected \(7, 3, 4, 32, 48\)"):
        small_discriminator()(torch.randn(B, K, 3, H, W), token_ids, token_mask, times())


@pytest.mark.parametrize(("height", "width", "field"), [(40, 48, "height"), (32, 8, "width")])
def test_sides_must_be_multiples_of_four_patches(height, width, field):
    with pytest.raises(UserError, match=rf"{field}=\d+ must be a multiple of .* = 16"):
        build_generator(SMALL, height=height, width=width, vocabulary_size=VOCABULARY)


def test_the_first_latents_are_the_camera():
    torch.manual_seed(0)
    generator = small_generator(FULL)
    with torch.no_grad():
        generator.content[0].weight[:, : FULL.latent_size] = 0  # nothing else reads the latents
    conditions, seen = (*prompts(), times()), []
    generator.sprites.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[-1]))
    latents = torch.randn(B, FULL.latent_size)
    video = generator(latents, *conditions)
    torch.testing.assert_close(seen[0], FULL.camera_variation * latents[:, :3])
    assert (generator(latents * torch.tensor([1, 1, 1, 0, 0]), *conditions) == video).all()
    assert (generator(0 * latents, *conditions) - video).abs().max() > 1e-3


def test_sprites_stay_where_they_are_in_mixed_precision():
    torch.manual_seed(0)
    generator, places = small_generator(FULL), []
    generator.sprites.to_shift.register_forward_hook(lambda *hooked: places.append(hooked[2]))
    inputs = torch.randn(B, *generator.latent_shape(K)), *prompts(), times()
    expected = generator(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        video = generator(*inputs)
    assert video.dtype == torch.float32
    assert torch.equal(*places)
    assert 0 < (video - expected).abs().max() < 0.05, "what is drawn may be rounded"


def test_time_does_nothing_to_sprites_but_move_and_zoom_them():
    torch.manual_seed(0)
    generator = small_generator(FULL)
    nn.init.normal_(generator.to_pixels.to_colours.weight)
    latents = torch.randn(B, *generator.latent_shape(K))
    conditions = *prompts(), times()
    video = generator(latents, *conditions)
    assert (video[:, :, 0] - video[:, :, 1]).abs().amax((1, 2, 3)).min() > 1e-4
    for layer in (generator.sprites.to_shift, generator.sprites.to_growth):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    video = generator(latents, *conditions)
    torch.testing.assert_close(video, video[:, :, :1].expand_as(video))
    assert (video[0] - video[1]).abs().max() > 1e-4


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_further_prompts_are_judged_as_if_each_had_its_clip_again(model):
    torch.manual_seed(0)
    discriminator = small_discriminator(model).double()
    video, moments = torch.randn(B, 3, K, H, W, dtype=torch.float64), times().double()
    first, second = prompts(), prompts()
    token_ids, token_mask = (torch.cat(both) for both in zip(first, second, strict=True))
    logits, _ = discriminator(video, token_ids[:-1], token_mask[:-1], moments)
    apart = [discriminator(video, *each, moments)[0] for each in (first, second)]
    torch.testing.assert_close(logits, torch.cat(apart)[:-1])


def test_latents_are_not_recovered_from_moments():
    discriminator = small_discriminator(RICH)
    inputs = torch.randn(B, 3, K, H, W), *prompts(), times()
    logits, recovered = discriminator(*inputs)

    nn.init.zeros_(discriminator.moments.linear.weight)
    other_logits, other_recovered = discriminator(*inputs)

    assert torch.equal(recovered, other_recovered)
    assert not torch.allclose(logits, other_logits)
