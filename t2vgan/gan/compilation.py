"""Compile the networks with torch.compile, where a compiler is installed."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2vgan.errors import UserError
from t2vgan.utils.console import print_stderr

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
DEFAULT_CACHE = Path("~/.cache/t2vgan/compiled")
"""Compiled code of earlier runs; torch's own default is in /tmp, which others may write."""


def choose_compilation(
    requested: str, device: torch.device, *, before: bool | None
) -> tuple[bool, str]:
    """Return whether a run compiles its networks, and a line.

    `before` is whether it did before it was resumed, None for a new one: by default a run goes on
    as it was, because compiled arithmetic differs in its last bits.

    Raises:
        UserError: it was asked for, and there is no compiler.
    """
    is_wanted = requested == "on"
    if requested == "auto":
        is_wanted = device.type == "cuda" if before is None else before
    obstacle = find_obstacle(device) if is_wanted else ""
    if obstacle and requested == "on":
        raise UserError(f"compile=on: {obstacle}; use --compile off, or install what is missing")
    is_compiled = is_wanted and not obstacle
    if before is not None and is_compiled != before:
        state = "compiled" if is_compiled else "not compiled"
        reason = f" ({obstacle})" if obstacle else ""
        return is_compiled, (
            f"the networks are {state} from here on{reason}: the last digits of what follows differ"
            " from those of a run that was not stopped"
        )
    return is_compiled, f"the networks are not compiled: {obstacle}" if obstacle else ""


def find_obstacle(device: torch.device) -> str:
    """Return why a device cannot be compiled for; empty if it can.

    A small function is compiled to find out: what is missing may also be Python's headers, or a
    folder for the cache.
    """
    import torch._dynamo

    if torch._dynamo.config.disable:
        return "TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE is set"
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        return f"no C++ compiler {compiler} is installed (the variable CXX names another one)"
    prepare_compiler()
    try:
        torch.compile(_trial, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # whatever an installation may lack
        return f"the compiler of torch does not work here ({first_line(error)})"
    return ""


def _trial(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1


def prepare_compiler() -> None:
    """Have compiled code compute the same bits each time, and keep it.

    In the user's cache, unless torch is told where.
    """
    from torch._inductor import codecache
    from torch._inductor import config as inductor_config

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # of CUDA, on a CPU
    folder = os.environ.setdefault(CACHE_VARIABLE, str(DEFAULT_CACHE.expanduser()))
    if hasattr(codecache, "_HEADER_DIR"):  # which is in /tmp all the same
        codecache._HEADER_DIR = str(Path(folder, "headers"))
    if hasattr(inductor_config, "deterministic"):  # else a GPU's kernels are chosen by their speed
        inductor_config.deterministic = True
    keep_embedding_gradient()


def keep_embedding_gradient() -> None:
    """Let compiled code call torch's own gradient of embeddings.

    The compiler's adds up atomically, in an order that differs from run to run.
    """
    from torch._inductor.decomposition import decompositions, select_decomp_table
    from torch._inductor.lowering import make_fallback

    operation = torch.ops.aten.embedding_dense_backward.default
    if decompositions.pop(operation, None):
        select_decomp_table().pop(operation, None)  # a copy, if anything was compiled before
        make_fallback(operation, warn=False)


def compile_network(network: nn.Module, *, is_optional: bool = False) -> None:
    """Compile a network's forward pass in place.

    The names of its weights and its hooks stay as they are. Copy it before: a copy's `forward`
    would be its own.
    """
    forward: Any = CompiledFunction(network.forward, is_optional=is_optional)
    network.forward = forward  # type: ignore[method-assign]


class CompiledFunction:
    """Compile a function when called, one graph for each shape.

    Without breaks. A second backward through it is refused; gradients may be taken within
    (`torch.func.grad`). Where the compiler fails at it, an optional one says so in a line, and from
    then on is the function itself.
    """

    def __init__(self, function: Callable[..., Any], *, is_optional: bool = False) -> None:
        self.function, self.is_optional = function, is_optional
        self.compiled: Any = torch.compile(function, fullgraph=True, dynamic=False)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Return what the function returns."""
        if self.compiled is None:
            return self.function(*inputs)
        try:
            return self.compiled(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            if not self.is_optional:
                raise
            print_stderr(f"not compiled, and slower: the compiler fails ({first_line(error)})")
            self.compiled = None
            return self.function(*inputs)


def first_line(error: Exception) -> str:
    """Return the first line of an error that says anything."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
