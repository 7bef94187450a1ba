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
from t2vgan.utils.console import first_line, print_stderr

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
DEFAULT_CACHE = Path("~/.cache/t2vgan/compiled")
"""Cache of compiled code; torch's default is in /tmp, where other users may write."""


def choose_compilation(
    requested: str, device: torch.device, *, before: bool | None
) -> tuple[bool, str]:
    """Return whether a run compiles its networks, and a message.

    `before` is whether it did before it was resumed, None for a new run. By default a resumed run
    keeps its choice, because compiled arithmetic differs in the last bits.

    Raises:
        UserError: compilation is requested but impossible.
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
            f"the networks are {state} from here on{reason}, so results differ in the last digits"
            " from those of an uninterrupted run"
        )
    return is_compiled, f"the networks are not compiled: {obstacle}" if obstacle else ""


def find_obstacle(device: torch.device) -> str:
    """Return why compiling for a device is impossible; otherwise "".

    A small function is compiled to find out, since Python's headers or a folder for the cache may
    be missing too.
    """
    import torch._dynamo

    if torch._dynamo.config.disable:
        return "TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE is set"
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        return f"the C++ compiler {compiler} is not installed (the variable CXX selects another)"
    prepare_compiler()
    try:
        torch.compile(_trial, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # an incomplete installation may raise any type
        return f"torch.compile does not work here ({first_line(error)})"
    return ""


def _trial(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1


def prepare_compiler() -> None:
    """Make compiled code deterministic, and set its cache.

    The cache is in the user's home, unless the environment names another folder.
    """
    from torch._inductor import codecache
    from torch._inductor import config as inductor_config

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # about CUDA, on a CPU
    folder = os.environ.setdefault(CACHE_VARIABLE, str(DEFAULT_CACHE.expanduser()))
    if hasattr(codecache, "_HEADER_DIR"):  # ignores the variable, and is in /tmp
        codecache._HEADER_DIR = str(Path(folder, "headers"))
    if hasattr(inductor_config, "deterministic"):  # otherwise GPU kernels are chosen by timing
        inductor_config.deterministic = True
    keep_embedding_gradient()


def keep_embedding_gradient() -> None:
    """Make compiled code use eager mode's gradient of embeddings.

    The compiler's own uses atomic adds, in an order that differs from run to run.
    """
    from torch._inductor.decomposition import decompositions, select_decomp_table
    from torch._inductor.lowering import make_fallback

    operation = torch.ops.aten.embedding_dense_backward.default
    if decompositions.pop(operation, None):
        select_decomp_table().pop(operation, None)  # the cached copy, if one was made before
        make_fallback(operation, warn=False)


def compile_network(network: nn.Module, *, is_optional: bool) -> None:
    """Compile a network's forward pass in place.

    Parameter names and hooks are unchanged. Deep copies must be made before: the `forward` of a
    later copy would still be the original's.
    """
    forward: Any = CompiledFunction(network.forward, is_optional=is_optional)
    network.forward = forward  # type: ignore[method-assign]


class CompiledFunction:
    """Compile a function at its first call, one graph per input shape.

    There are no graph breaks. Double backward through it is not supported, but it may call
    `torch.func.grad` inside. If compilation fails and `is_optional` is set, one line is printed and
    the function runs uncompiled from then on.
    """

    def __init__(self, function: Callable[..., Any], *, is_optional: bool = False) -> None:
        self.function, self.is_optional = function, is_optional
        self.compiled: Any = torch.compile(function, fullgraph=True, dynamic=False)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Call the function."""
        if self.compiled is None:
            return self.function(*inputs)
        try:
            return self.compiled(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            if not self.is_optional or is_capturing():
                raise
            print_stderr(f"not compiled, so slower: the compiler failed ({first_line(error)})")
            self.compiled = None
            return self.function(*inputs)


def is_capturing() -> bool:
    """Return whether a CUDA graph is being captured."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
