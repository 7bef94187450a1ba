"""Compare code, libraries, config, data and networks over ranks."""

import platform
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

import t2vgan
from t2vgan.config import Config
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.distributed.peers import format_ranks
from t2vgan.errors import RunStoppedError
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import flatten

LIBRARIES = ("torch", "accelerate", "numpy", "opencv-python-headless", "webdataset")
# Nodes may have their own copies of the data, whose fingerprints are compared, and other cores.
OPTIONS_OF_A_NODE = {
    "data.path",
    "data.mix",
    "data.cache_path",
    "data.cache_gigabytes",
    "num_cpu_threads",
}
PRECISION = "the precision (--train.precision sets one for all ranks)"
MAX_SHOWN = 3
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Facts = dict[str, str]


# --- software, config and data --------------------------------------------------------------------


def describe_software() -> Facts:
    """Return the versions of libraries and the checksums of our sources."""
    package = Path(t2vgan.__file__).parent
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **{
            f"code {path.relative_to(package.parent)}": sha256_of(path)[:12]
            for path in package.glob("**/*.py")
        },
    }


def describe_config(config: Config, device: torch.device) -> Facts:
    """Return what must agree on all ranks: options, and the precision.

    Raises:
        UserError: as `choose_precision`.
    """
    options = flatten(config).items()
    facts = {f"--{name}": str(value) for name, value in options if name not in OPTIONS_OF_A_NODE}
    precision = choose_precision(config.train.precision, device)
    return facts | {PRECISION: str(precision).removeprefix("torch.")}


def find_differences(facts_by_rank: Sequence[Mapping[str, str]]) -> list[str]:
    """Describe each fact that differs over ranks, with ranks and values."""
    names = list(dict.fromkeys(name for facts in facts_by_rank for name in facts))
    values = [[facts.get(name, "missing") for name in names] for facts in facts_by_rank]
    texts = []
    for name, mismatched in find_mismatched_ranks(names, values):
        index = names.index(name)
        usual = next(row[index] for rank, row in enumerate(values) if rank not in mismatched)
        other, ranks = values[mismatched[0]][index], format_ranks(mismatched)
        texts.append(f"{name} is {usual}, but {other} on rank {ranks}")
    return texts


def check_agreement(context: DistributedContext, facts: Facts) -> None:
    """Compare facts over ranks (collective).

    Raises:
        UserError: on every rank, naming the fact that differs, the ranks, and both values.
    """
    found = find_differences(context.gather_objects(facts))
    if found:
        raise context.shared_error(
            f"the ranks do not agree: {join_first(found)}; start every rank with the same command,"
            " code and packages"
        )


def join_first(texts: Sequence[str]) -> str:
    """Join the first texts, and count the others."""
    others = f" (and {len(texts) - MAX_SHOWN} others)" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + others


# --- networks -------------------------------------------------------------------------------------


def check_network_consistency(
    context: DistributedContext, modules: Mapping[str, nn.Module], step: int
) -> None:
    """Compare every network's tensors over ranks (collective).

    Raises:
        RunStoppedError: on every rank, naming a tensor and the ranks where it differs.
    """
    if context.world_size == 1:
        return
    tensors = {
        f"{module_name}.{name}": tensor
        for module_name, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    own = torch.stack([checksum(tensor) for tensor in tensors.values()]).tolist()
    found = find_mismatched_ranks(list(tensors), context.gather_objects(own))
    if found:
        name, ranks = found[0]
        others = f" (and {len(found) - 1} other tensors)" if len(found) > 1 else ""
        raise RunStoppedError(
            f"step {step}: {name} differs on rank {', '.join(map(str, ranks))}{others}; the same"
            " command resumes from the last checkpoint; if it happens again, suspect the memory or"
            " the device of that rank"
        )


def checksum(tensor: Tensor) -> Tensor:
    """Compute an int64 checksum, on the tensor's device, sensitive to every bit.

    The elements' bits, as integers, are multiplied by the odd numbers 1, 3, 5, ... and summed
    modulo 2^64. Multiplication by an odd factor is injective, so changing any one element changes
    the sum.
    """
    bits = tensor.reshape(-1).view(INTEGERS[tensor.element_size()])
    return (bits * (2 * torch.arange(len(bits), device=bits.device) + 1)).sum()


def find_mismatched_ranks(
    names: Sequence[str], values_by_rank: Sequence[Sequence[Hashable]]
) -> list[tuple[str, list[int]]]:
    """Return the names that differ, each with the ranks outside the majority.

    If values are equally frequent, that of the lowest rank counts as right.
    """
    found = []
    for name, values in zip(names, zip(*values_by_rank, strict=True), strict=True):
        right, _ = Counter(values).most_common(1)[0]  # the first one, if several are as common
        if mismatched := [rank for rank, value in enumerate(values) if value != right]:
            found.append((name, mismatched))
    return found
