"""Write traced generators as files for other programs."""

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from t2vgan.errors import UserError
from t2vgan.pipeline.export.graph import Graph
from t2vgan.utils.files import atomic_path, atomic_write_bytes

METADATA_KEY = "t2vgan"  # key of ONNX metadata; with ".json", the extra file of a .pt2 archive
OPSET = 20
MAX_ONNX_BYTES = 2**31 - 2**20  # limit of a protobuf message, with room for the graph


def check_packages() -> None:
    """Raise UserError unless the packages that write ONNX are installed."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise UserError(
            f"--to onnx needs {' and '.join(missing)}: pip install 't2vgan[export]', "
            "or use --to torch.export"
        )


# PyTorch's warnings while it writes concern its own code, and no user can act on them.


def write_program(graph: Graph, path: Path) -> None:
    """Write a .pt2 archive that `torch.export.load` reads."""
    extra_files = {f"{METADATA_KEY}.json": format_json(graph.description)}
    with atomic_path(path) as temporary, warnings.catch_warnings(action="ignore"):
        torch.export.save(graph.program, temporary, extra_files=extra_files)


def write_onnx(graph: Graph, path: Path) -> None:
    """Write an ONNX file that contains the weights.

    Raises:
        UserError: the weights are larger than an ONNX file may be.
    """
    tensors = graph.program.state_dict.values()
    if (size := sum(tensor.nbytes for tensor in tensors)) > MAX_ONNX_BYTES:
        raise UserError(
            f"weights of {size:,} bytes do not fit into an ONNX file; use --to torch.export"
        )
    with warnings.catch_warnings(action="ignore"):
        exported = torch.onnx.export(
            graph.program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.description["inputs"]),
            output_names=list(graph.description["outputs"]),
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    clean_model(model, graph.description)
    atomic_write_bytes(path, model.SerializeToString(deterministic=True))


def clean_model(model: Any, description: dict[str, Any]) -> None:
    """Replace an ONNX model's metadata about its tracing by the description."""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    shapes = description["inputs"] | description["outputs"]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        sizes = value.type.tensor_type.shape.dim
        for size, name in zip(sizes, shapes[value.name]["shape"], strict=True):
            if isinstance(name, str):
                size.dim_param = name
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=format_json(description))


def write_description(graph: Graph, path: Path) -> None:
    """Write the description as a JSON file."""
    atomic_write_bytes(path, (format_json(graph.description, indent=2) + "\n").encode())


def format_json(description: dict[str, Any], *, indent: int | None = None) -> str:
    """Format a description as JSON in ASCII."""
    return json.dumps(description, indent=indent)
