"""Phrases: codes of their own, equal before the network, over one ground."""

import pytest
import torch
from torch import Tensor

from t2vgan.models.phrases import PhraseCameras, encode_phrases, split_mask
from t2vgan.models.text_encoders import TEXT_ENCODERS
from tests.support.small_networks import (
    PHRASES,
    VOCABULARY,
    K,
    small_discriminator,
    small_generator,
)

ONE, OTHER = [3, 5, 2], [3, 7, 4]


def rows(*prompts: list[int]) -> tuple[Tensor, Tensor]:
    length = max(map(len, prompts))
    token_ids = torch.tensor([prompt + [0] * (length - len(prompt)) for prompt in prompts])
    return token_ids, token_ids > 0


def test_the_mask_is_split_at_its_gaps():
    mask = torch.tensor([[1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()
    assert split_mask(mask, 3).long().tolist() == [
        [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0] * 6],
        [[1, 0, 0, 0, 0, 0], [0] * 6, [0] * 6],
    ]


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_a_phrase_has_the_code_of_a_prompt(name):
    torch.manual_seed(0)
    encoder = TEXT_ENCODERS[name](vocabulary_size=VOCABULARY, text_size=16)
    codes = encode_phrases(encoder, *rows([*ONE, 0, *OTHER], ONE), 2)
    single = encoder(*rows(ONE, OTHER))
    torch.testing.assert_close(codes[0], single)
    torch.testing.assert_close(codes[1, 0], single[0])
    assert not codes[1, 1].any()


def test_cameras_start_at_zero_and_come_from_the_others():
    torch.manual_seed(0)
    cameras, content = PhraseCameras(6), torch.randn(2, 3, 6)
    every = torch.ones(2, 3, dtype=torch.bool)
    assert not cameras(content, every).any()
    torch.nn.init.normal_(cameras.to_camera.weight)
    order = [2, 0, 1]
    of_three = cameras(content, every)
    torch.testing.assert_close(cameras(content[:, order], every), of_three[:, order])
    two = torch.tensor([True, True, False]).expand(2, -1)
    of_two = cameras(content[:, :2], every[:, :2])
    torch.testing.assert_close(cameras(content, two)[:, :2], of_two)
    assert (of_three[:, :2] - of_two).abs().min() > 1e-4
    assert not cameras(content[:, :1], every[:, :1]).any()


def draw(generator, latents: Tensor, *prompts: list[int]) -> Tensor:
    times = torch.linspace(0, 1, K).expand(len(prompts), -1)
    return generator(latents, *rows(*prompts), times)


def test_one_phrase_is_drawn_as_by_a_network_of_one():
    torch.manual_seed(0)
    generator = small_generator(PHRASES).eval()
    single = small_generator(PHRASES.model_copy(update={"max_phrases": 1})).eval()
    single.load_state_dict({name: generator.state_dict()[name] for name in single.state_dict()})
    latents = torch.randn(2, 2 * PHRASES.latent_size)
    expected = draw(single, latents[:, ::2], ONE, OTHER)
    torch.testing.assert_close(draw(generator, latents, ONE, OTHER), expected)


def test_two_phrases_are_drawn_as_two_networks_of_one_draw_them():
    torch.manual_seed(0)
    generator = small_generator(PHRASES).eval()
    with torch.no_grad():  # small and apart: the shift follows a latent
        generator.sprites.to_ground.weight.zero_()
        generator.sprites.to_breadth.bias.fill_(-9.0)
        generator.sprites.to_breadth.weight.zero_()
        generator.camera_std.fill_(1.0)
    apart = torch.zeros(1, PHRASES.latent_size, 2)
    apart[0, 2] = torch.tensor([-0.7, 0.7])  # pan right
    apart[0, 0] = -2.0  # zoom
    latents = apart.flatten(1)
    both = draw(generator, latents, [*ONE, 0, *OTHER])
    first = draw(generator, latents, ONE)
    second = draw(
        generator,
        latents[:, [*torch.arange(latents.shape[1]).view(-1, 2).flip(1).flatten()]],
        OTHER,
    )
    ground = generator.pixels.restore(generator.sprites.to_ground.bias.view(3, 1, 1, 1))
    torch.testing.assert_close(
        both - ground, (first - ground) + (second - ground), atol=1e-4, rtol=0
    )
    swapped = latents.view(1, -1, 2).flip(2).flatten(1)
    other_order = draw(generator, swapped, [*OTHER, 0, *ONE])
    torch.testing.assert_close(other_order, both, atol=1e-4, rtol=0)


def test_the_head_of_phrases_treats_them_alike_and_has_second_derivatives():
    torch.manual_seed(0)
    discriminator = small_discriminator(PHRASES)
    for module in discriminator.modules():  # what depends on the order of words has no say here
        if hasattr(module, "share"):
            torch.nn.init.zeros_(module.share)
    video = torch.randn(2, 3, K, 32, 48, requires_grad=True)
    times = torch.rand(2, K).sort(1).values
    logits, recovered = discriminator(
        video, *rows([*ONE, 0, *OTHER], ONE, [*OTHER, 0, *ONE], ONE), times
    )
    torch.testing.assert_close(logits[:2], logits[2:])
    _, swapped = discriminator(video, *rows([*OTHER, 0, *ONE], ONE), times)
    torch.testing.assert_close(swapped[0].view(-1, 2).flip(1), recovered[0].view(-1, 2))
    exchanged, _ = discriminator(video, *rows([3, 5, 4, 0, 3, 7, 2], ONE), times)
    assert (exchanged[0] - logits[0]).abs() > 1e-6
    (gradient,) = torch.autograd.grad(logits.sum(), video, create_graph=True)
    gradient.square().sum().backward()
    for name, parameter in discriminator.phrase_head.named_parameters():
        if "bias" not in name and "recover" not in name and "text_encoder" not in name:
            assert parameter.grad.any(), name
