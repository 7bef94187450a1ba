"""The notebook's networks have the published sizes; frames are independent."""

import torch
from torch import nn

from t2vgan.config import NotebookGanConfig
from t2vgan.models import build_discriminator, build_generator
from tests.support.small_networks import VOCABULARY, prompts


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
