"""A small GAN and its batches, for tests of a step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.gan.adversarial import AdversarialTraining, LossFunction
from t2vgan.gan.adversarial_losses import Loss
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.optimizer import NetworkOptimizer

MODEL = ClipGanConfig(latent_size=5, text_size=6, hidden_size=14, channels=4)
SPRITES = MODEL.model_copy(update={"num_sprites": 2, "camera_variation": 0.1})
B, K, H, W, R, VOCABULARY = 8, 3, 16, 32, 2, 11
SIZES = {"height": H, "width": W, "vocabulary_size": VOCABULARY}


def make_gan(processes, *, model=MODEL, pixels=None, **options) -> AdversarialTraining:
    defaults = {
        "frames_per_clip": K,
        "global_batch_size": B,
        "precision": "no",
        "num_steps": 100,
        "recovered_latents": R,
        "mode_seeking_weight": 0.1,
    }
    train = TrainConfig(**(defaults | options))
    gan = AdversarialTraining(model, train, processes, **SIZES, pixels=pixels)
    for module in gan.networks.values():  # float64: what must be equal is equal to 14 digits
        module.double()
    return gan


def make_batch(seed: int = 0, *, noise: bool = False, num_mismatched: int = 1) -> MicroBatch:
    torch.manual_seed(seed)
    token_ids = torch.randint(1, VOCABULARY, (B, 4))
    mismatched_ids = torch.randint(1, VOCABULARY, (B, num_mismatched, 4))
    mismatched_ids[0, 0] = token_ids[0]
    return MicroBatch(
        real_video=torch.randn(B, 3, K, H, W, dtype=torch.float64),
        token_ids=token_ids,
        token_mask=token_ids > 0,
        mismatched_ids=mismatched_ids,
        mismatched_mask=mismatched_ids > 0,
        times=torch.rand(B, K, dtype=torch.float64).sort(1).values,
        discriminator_latents=torch.randn(B, 5, dtype=torch.float64),
        generator_latents=torch.randn(B, 5, dtype=torch.float64),
        augmentation=torch.zeros(B, 0),
        penalty_noise=torch.randn(B // 4 * noise, 2, 3, K, H, W, dtype=torch.float64),
    )


def to_single(batch: MicroBatch) -> MicroBatch:
    tensors = batch.tensors.items()
    return MicroBatch(**{n: v.float() if v.is_floating_point() else v for n, v in tensors})


def cut(batch: MicroBatch, size: int) -> list[MicroBatch]:
    length = len(batch.real_video)
    return [batch.slice(slice(start, start + size)) for start in range(0, length, size)]


def apply_gradients(side: NetworkOptimizer, loss: float = 0.0) -> float:
    """Apply the gradients of a network's parameters; return their norm."""
    side.gradients.collect()
    _, beta2 = side.optimizer.param_groups[0]["betas"]
    norm, nonfinite = side.prepare(torch.tensor(loss), beta2)
    side.apply(nonfinite)
    return norm.item()


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def changed(loss: LossFunction, change: Callable[[Tensor], Tensor]) -> LossFunction:
    """Return a loss function with other values."""

    def changed_loss(*args) -> Loss:
        result = loss(*args)
        return result._replace(values=change(result.values))

    return changed_loss
