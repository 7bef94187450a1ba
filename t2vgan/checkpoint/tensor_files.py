"""Read and write safetensors files, translating the library's errors."""

import errno
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2vgan.errors import UserError
from t2vgan.utils.files import atomic_path
from t2vgan.utils.frozen import Frozen
from t2vgan.utils.memory import read_memory_size

ADDED = {"pixels.mean": 0.0, "pixels.std": 1.0}
"""Tensor that earlier versions of a network lacked -> its value without effect."""


def write_with_info(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    info: Frozen,
    *,
    format: str,
    format_version: str,
) -> None:
    """Write tensors, their description and a checksum atomically into one file."""
    tensors, info_json = to_host(tensors), info.model_dump_json()
    metadata = {
        "format": format,
        "format_version": format_version,
        "info": info_json,
        "sha256": compute_digest(tensors, info_json),
    }
    with atomic_path(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def add_missing(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add tensors that earlier versions did not save, with neutral values."""
    neutral = {
        name: torch.full_like(expected[name], value, device="cpu")
        for name, value in ADDED.items()
        if name in expected
    }
    return {**neutral, **tensors}


def compute_digest(tensors: Mapping[str, Tensor], info_json: str) -> str:
    """Compute the SHA-256 of contiguous CPU tensors, names and description."""
    checksum = hashlib.sha256(info_json.encode())
    for name, tensor in sorted(tensors.items()):
        checksum.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to contiguous CPU memory.

    Tensors of one type are copied together, to synchronize with the device once per type.
    """
    names: dict[torch.dtype, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        names[tensor.dtype].append(name)
    copies: dict[str, Tensor] = {}
    for group in names.values():
        own = [tensors[name].detach() for name in group]
        joined = torch.cat([tensor.reshape(-1) for tensor in own]).cpu()
        parts = joined.split([tensor.numel() for tensor in own])
        for name, tensor, part in zip(group, own, parts, strict=True):
            copies[name] = part.view(tensor.shape)
    return {name: copies[name] for name in tensors}


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write contiguous CPU tensors.

    Raises:
        OSError: writing failed; with the errno of the system.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code.group(1)) if code else errno.EIO
        reason = os.strerror(number) if code else str(error)
        raise OSError(number, reason, str(path)) from None
    if metadata:
        sort_metadata(path)


def sort_metadata(path: Path) -> None:
    """Sort a header's metadata, so that equal weights give equal files.

    safetensors writes it in the order of a hash table with a random seed.
    """
    with open(path, "r+b") as file:
        header_size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= header_size, "the same fields take the same space"
        file.seek(8)
        file.write(text.ljust(header_size))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor as a view of the memory-mapped file.

    Tensors that must outlive the file have to be copied.
    """
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """Read only the metadata of a file's header."""
    with open_tensors(path) as file:
        return file.metadata() or {}


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a file; the library limits the size of its header.

    Raises:
        UserError: the file is not a safetensors file, or larger than the memory.
    """
    size, memory = path.stat().st_size, read_memory_size()
    if size > memory:
        raise UserError(
            f"{path}: {size / 1e9:.1f} GB do not fit into {memory / 1e9:.1f} GB of memory; use a"
            " machine with more memory, or a smaller model"
        )
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise UserError(f"{path}: not a readable safetensors file ({reason})") from None


def format_tensor(tensor: Tensor | None) -> str:
    """Format shape and dtype; "absent" for None."""
    if tensor is None:
        return "absent"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def check_finite(path: Path, tensors: Mapping[str, Tensor], remedy: str) -> None:
    """Raise UserError if a tensor holds NaN or infinity."""
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and not tensor.to(torch.float64).isfinite().all():
            raise UserError(f"{path}: tensor {name} holds NaN or infinity; {remedy}")
