"""TODO."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2vgan.errors import UserError
from t2vgan.utils.files import atomic_path
from t2vgan.utils.frozen import Frozen


def write_described(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    info: Frozen,
    *,
    format: str,
    format_version: str,
) -> None:
    """Write tensors and what describes them into one file with a checksum of both, atomically."""
    tensors, info_json = to_host(tensors), info.model_dump_json()
    metadata = {
        "format": format,
        "format_version": format_version,
        "info": info_json,
        "sha256": digest(tensors, info_json),
    }
    with atomic_path(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def digest(tensors: Mapping[str, Tensor], info_json: str) -> str:
    """Return the SHA-256 of contiguous CPU tensors with their names, and of the description."""
    checksum = hashlib.sha256(info_json.encode())
    for name, tensor in sorted(tensors.items()):
        checksum.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to contiguous CPU memory of their own, so that training may go on."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write contiguous CPU tensors; a disk's refusal is an OSError with its errno."""
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
    """Put a header's text fields in order, so that equal weights are equal files.

    safetensors writes them in the order of a hash table with a random seed.
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
    """Read every tensor of a file as a view of the mapped file: copy what must outlive it."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise not_readable(path, error) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text fields of a file's header, and nothing else."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise not_readable(path, error) from None


def not_readable(path: Path, error: SafetensorError) -> UserError:
    reason = str(error).removeprefix("Error while deserializing header: ")
    return UserError(f"{path}: not a readable safetensors file ({reason})")
