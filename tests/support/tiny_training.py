"""Models of every kind that train on CPUs in a moment, and the sizes of their batches."""

import torch

from t2vgan.config import ClipGanConfig
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.training.cost.step_cost import StepSizes

SIZES = StepSizes(num_clips=4, height=32, width=32, vocabulary_size=11, num_tokens=5)
PLAIN = ClipGanConfig(latent_size=8, text_size=16, hidden_size=32, channels=8, pixel_channels=8)
MODELS = {
    "plain": PLAIN,
    "sprites": PLAIN.model_copy(update={"num_sprites": 1, "pooled_features": True}),
    "scene": PLAIN.model_copy(
        update={"smooth_patches": True, "scene_scale": 2.0, "motion_channels": 4}
    ),
}


def assert_same_weights(first: AdversarialTraining, second: AdversarialTraining) -> None:
    """Compare all networks, the average included, to the last bit."""
    for name, network in first.networks.items():
        others = second.networks[name].state_dict()
        for key, value in network.state_dict().items():
            assert torch.equal(value, others[key]), f"{name}.{key}"
