"""Run by torchrun: what FSDP2 makes of this gan, case by case, as JSON to a file.

`fsdp2.py FILE CASE ...`: for each case the largest relative error of its gradients against those of
one process with plain networks, in float64, or the text of the error.
"""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from t2vgan.distributed.context import DistributedContext
from t2vgan.gan.adversarial import AdversarialTraining
from tests.support.gan_steps import SPRITES, make_gan
from tests.system.gradients import BATCH_SIZE, NUM_MISMATCHED, STEPS, gradients_of, whole_batch

BOTH = ("generator", "discriminator")


class OneProcess:
    """One process's view of itself: networks stay as they are."""

    device, is_distributed, world_size, rank, is_main = torch.device("cpu"), False, 1, 0, True


def shard(
    gan: AdversarialTraining,
    sides: Sequence[str],
    mesh,
    *,
    keep: bool = False,
    contiguous: bool = True,
) -> None:
    """Shard networks in place; `keep` them whole once gathered."""
    for side in sides:
        network = gan.optimizers[side].network
        if contiguous:
            network.to(memory_format=torch.contiguous_format)
        fully_shard(network, mesh=mesh, reshard_after_forward=not keep)
        if keep:
            network.set_reshard_after_backward(False)
        gradients = gan.optimizers[side].gradients
        gradients.parameters[:] = network.parameters()
        gradients.collect = lambda: None  # type: ignore[method-assign]  # shards are no views


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gradient_error(places: slice, mesh, *sides: str, kind: str, keep: bool = False) -> float:
    """Return the largest error of the sharded networks' gradients over the largest gradient."""
    is_approximate = kind == "approximate"
    options = {
        "model": SPRITES,
        "penalty": "approximate" if is_approximate else "exact",
        "mismatched_prompts": NUM_MISMATCHED,
    }
    batch, step = whole_batch(noise=is_approximate), STEPS[kind]
    local = batch.slice(places)
    expected = gradients_of(make_gan(OneProcess(), **options), [batch], step)
    gan = make_gan(OneProcess(), **options)
    shard(gan, sides, mesh, keep=keep)
    gan.ema.update = lambda *_, **__: None
    found = gradients_of(gan, [local], step)
    wanted = [n for n, value in expected.items() if n.partition("/")[0] in sides and value.any()]
    assert wanted
    if missing := [name for name in wanted if name not in found]:
        raise AssertionError(f"no gradient for {missing[0]}, and {len(missing) - 1} others")
    errors = [(whole(found[name]) - expected[name]).abs().max() for name in wanted]
    sizes = [expected[name].abs().max() for name in wanted]
    return (torch.stack(errors).max() / torch.stack(sizes).max()).item()


def average(mesh) -> None:
    """Update the averaged generator from a sharded one."""
    gan = make_gan(OneProcess())
    shard(gan, ["generator"], mesh)
    gan.ema.update(gan.generator.network, 0.5)


def main(path: Path, *names: str) -> None:
    torch.set_default_dtype(torch.float64)
    processes = DistributedContext(num_cpu_threads=1)
    mesh = init_device_mesh("cpu", (processes.world_size,))
    share = BATCH_SIZE // processes.world_size
    places = slice(processes.rank * share, (processes.rank + 1) * share)
    error = partial(gradient_error, places, mesh)
    cases: dict[str, Callable[[], float | None]] = {
        "channels last": lambda: shard(
            make_gan(OneProcess()), ["generator"], mesh, contiguous=False
        ),
        "generator": partial(error, "generator", kind="plain"),
        "discriminator": partial(error, "discriminator", kind="plain"),
        "both": partial(error, *BOTH, kind="plain"),
        "approximate": partial(error, *BOTH, kind="approximate"),
        "average": partial(average, mesh),
        "penalty": partial(error, "discriminator", kind="penalty"),
        "penalty, kept": partial(error, "discriminator", kind="penalty", keep=True),
    }
    report: dict[str, object] = {"world_size": processes.world_size}
    for name in names:
        try:
            report[name] = cases[name]()
        except Exception as problem:  # the report is about what fails
            report[name] = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        if processes.is_main:
            print(name, report[name], flush=True)
            path.write_text(json.dumps(report, indent=2))
    processes.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
