"""Run by torchrun: the gradients of both networks for one global batch, in float64, to a file.

`gradients.py FILE`: tensors named `<micro-batches>/<kind of step>/<network>/<parameter>`, and
`lacking`: what becomes of a gradient that the last rank alone lacks, 3 on all others.
"""

import sys

import torch
from safetensors.torch import save_file
from torch import Tensor

from t2vgan.data.batch_plan import PENALTY_STRIDE
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.gradients import FlatGradients
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.optimizer import NetworkOptimizer, Prepared
from tests.support.gan_steps import SPRITES, cut, make_batch, make_gan

BATCH_SIZE = 16
NUM_MISMATCHED = 3
STEPS = {"penalty": 96, "plain": 97, "approximate": 96}
"""Of 100: late, when what is for variety counts too."""


def main() -> None:
    torch.set_default_dtype(torch.float64)
    processes = DistributedContext(num_cpu_threads=1)
    share = BATCH_SIZE // processes.world_size
    places = slice(processes.rank * share, (processes.rank + 1) * share)
    found = {}
    for num_micro_batches in (1, 2, 4):
        for name, step in STEPS.items():
            is_approximate = name == "approximate"
            if is_approximate and share // num_micro_batches % PENALTY_STRIDE:
                continue
            penalty = "approximate" if is_approximate else "exact"
            options = {"penalty": penalty, "mismatched_prompts": NUM_MISMATCHED}
            gan = make_gan(processes, model=SPRITES, **options)
            local = whole_batch(noise=is_approximate).slice(places)
            parts = cut(local, share // num_micro_batches)
            assert len(parts) == num_micro_batches
            gradients = gradients_of(gan, parts, step)
            found |= {f"{num_micro_batches}/{name}/{key}": g for key, g in gradients.items()}
    found["lacking"] = average_of_others(processes)
    if processes.is_main:
        save_file(found | {"world_size": torch.tensor(processes.world_size)}, sys.argv[1])
    processes.shutdown()


def average_of_others(processes: DistributedContext) -> Tensor:
    parameter = torch.nn.Parameter(torch.zeros(()))
    if processes.rank < max(1, processes.world_size - 1):
        parameter.grad = torch.full_like(parameter, 3.0)
    gradients = FlatGradients([parameter], processes)
    gradients.collect()
    gradients.average()
    return parameter.grad


def whole_batch(*, noise: bool) -> MicroBatch:
    parts = [make_batch(seed, noise=noise, num_mismatched=NUM_MISMATCHED) for seed in range(2)]
    names = parts[0].tensors
    return MicroBatch(**{name: torch.cat([p.tensors[name] for p in parts]) for name in names})


def gradients_of(gan: AdversarialTraining, parts: list[MicroBatch], step: int) -> dict[str, Tensor]:
    """Return what would be applied, instead of applying it."""
    found: dict[str, Tensor] = {}

    def keep(name: str, side: NetworkOptimizer) -> None:
        for key, parameter in side.network.named_parameters():
            if parameter.grad is not None:
                found[f"{name}/{key}"] = parameter.grad.clone(memory_format=torch.contiguous_format)

    for name, side in gan.optimizers.items():
        side.prepare = lambda loss, beta2: Prepared(torch.zeros(()), torch.zeros(()))  # type: ignore
        side.apply = lambda flag, name=name, side=side: keep(name, side)  # type: ignore
    gan.train_step(StepInputs.of(parts), step)
    return found


if __name__ == "__main__":
    main()
