"""The whole state of a run, restored bit for bit, without pickle.

    run_dir/checkpoints/step_00001000/
        generator.safetensors ...               one file a network
        generator_optimizer.safetensors ...     one file an optimizer: "<parameter name>/<key>"
        state.json                              counters and other plain values
        MANIFEST.json                           sizes and checksums of the above, written last

folder.py sees to it that such a folder is whole or absent. Optimizer hyperparameters
are not stored: the config and the schedules derive them.
"""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.optim import Optimizer

from t2vgan.checkpoint import storage as checkpoint_folder
from t2vgan.checkpoint.storage import STATE_NAME, step_folder
from t2vgan.checkpoint.tensor_files import read_tensors, to_host, write_tensors
from t2vgan.errors import UserError

State = dict[str, JsonValue]
Snapshot = dict[str, dict[str, Tensor]]  # file name -> tensor name -> tensor on the host


def take_snapshot(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> Snapshot:
    """Copy all tensors to host memory: from here on training may change the live ones."""
    return {name: to_host(tensors) for name, tensors in collect(modules, optimizers).items()}


def publish(
    run_dir: Path | str,
    step: int,
    snapshot: Snapshot,
    state: State,
    *,
    keep: int = checkpoint_folder.LEAST_KEPT,
    protect: Collection[int] = (),
    replace: bool = False,
) -> Path:
    """Write a snapshot as the checkpoint of `step` and return its folder; any thread may.

    A good checkpoint of the same step is kept as it is, unless told to `replace` it. Afterwards
    all but the newest `keep` (never fewer than two), this one and those in `protect` are removed.

    Raises OSError (disk full, not writable) with every older checkpoint untouched.
    """
    folder = step_folder(run_dir, step)
    checkpoint_folder.remove_leftovers(run_dir)
    if not checkpoint_folder.accept_or_set_aside(folder) or replace:
        write(folder, snapshot, json.dumps(state, indent=1))
    checkpoint_folder.remove_old(run_dir, keep=keep, protect={step, *protect})
    return folder


def latest_step(
    run_dir: Path | str, wanted: Callable[[State], bool] = lambda state: True
) -> int | None:
    """Return the step of the newest checkpoint that verifies; None for a run without any.

    Damaged ones are named in a warning and set aside; what a killed save left is removed.
    Good ones whose state is not `wanted` are set aside too: the run will need their names. Of
    several processes the main rank asks and tells the others, so that all load the same.

    Raises UserError where only damaged ones are left: starting over would hide the loss.
    """
    checkpoint_folder.remove_leftovers(run_dir)
    for step in reversed(checkpoint_folder.list_steps(run_dir)):
        folder = step_folder(run_dir, step)
        if checkpoint_folder.accept_or_set_aside(folder):
            if wanted(checkpoint_folder.read_state(folder)):
                return step
            checkpoint_folder.set_aside(folder, "unwanted")
    folder = checkpoint_folder.checkpoints_folder(run_dir)
    if damaged := sorted(path.name for path in folder.glob("damaged-*")):
        raise UserError(
            f"{folder}: no good checkpoint is left, only {', '.join(damaged)}; "
            "restore one from a backup, or remove the folder to train from the start"
        )
    return None


def load_checkpoint(
    run_dir: Path | str,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
) -> State:
    """Restore a checkpoint that `latest_step` has verified and return its state; for every rank.

    Tensors are copied to where the networks live. One that is missing, unknown, or of another
    shape or dtype is a UserError that names it, and then nothing has been changed.
    """
    folder = step_folder(run_dir, step)
    names = parameter_names(modules)
    module_states = {name: fit_module(folder, name, module) for name, module in modules.items()}
    optimizer_states = {
        name: fit_optimizer(folder, name, optimizer, names)
        for name, optimizer in optimizers.items()
    }
    state = checkpoint_folder.read_state(folder)

    for name, module in modules.items():
        module.load_state_dict(module_states[name])
    for name, optimizer in optimizers.items():
        optimizer.state.clear()
        optimizer.state.update(optimizer_states[name])
    return state


# --- live tensors -> files ---------------------------------------------------------------------


def collect(modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> Snapshot:
    """Return the tensors of a checkpoint by file name; they are the live ones, not copies."""
    names = parameter_names(modules)
    files = {f"{name}.safetensors": module.state_dict() for name, module in modules.items()}
    for name, optimizer in optimizers.items():
        files[f"{name}_optimizer.safetensors"] = {
            f"{names[parameter]}/{key}": value
            for parameter, values in optimizer.state.items()
            for key, value in values.items()
        }
    return files


def write(folder: Path, files: Snapshot, state_json: str) -> None:
    """Write collected CPU tensors and the state, and publish them."""
    num_bytes = len(state_json) + sum(
        tensor.nbytes for tensors in files.values() for tensor in tensors.values()
    )
    with checkpoint_folder.published(folder, num_bytes) as temporary:
        for name, tensors in files.items():
            write_tensors(temporary / name, tensors)
        (temporary / STATE_NAME).write_text(state_json)


def parameter_names(modules: Mapping[str, nn.Module]) -> dict[Tensor, str]:
    """Return `module.parameter` names; tensors hash by identity."""
    return {
        parameter: f"{module_name}.{name}"
        for module_name, module in modules.items()
        for name, parameter in module.named_parameters()
    }


# --- files -> tensors that fit -----------------------------------------------------------------


def fit_module(folder: Path, name: str, module: nn.Module) -> dict[str, Tensor]:
    """Read a network's tensors and compare their names, shapes and dtypes with the live ones."""
    saved = read_file(folder, f"{name}.safetensors")
    expected = module.state_dict()
    for key in sorted(expected.keys() | saved.keys()):
        found, wanted = describe(saved.get(key)), describe(expected.get(key))
        if found != wanted:
            raise misfit(folder, f"{name}.{key}", found, wanted)
    return saved


def fit_optimizer(
    folder: Path, name: str, optimizer: Optimizer, names: Mapping[Tensor, str]
) -> dict[Tensor, dict[str, Tensor]]:
    """Read an optimizer's state by parameter, each tensor laid out as a live one would be."""
    saved = read_file(folder, f"{name}_optimizer.safetensors")
    places = {
        names[parameter]: (parameter, group)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    state: dict[Tensor, dict[str, Tensor]] = {}
    for full_key, value in saved.items():
        what = f"{name}_optimizer.{full_key}"
        parameter_name, _, key = full_key.rpartition("/")
        parameter, group = places.get(parameter_name, (None, {}))
        if parameter is None:
            raise misfit(folder, what, describe(value), describe(None))
        if value.ndim > 0 and value.shape != parameter.shape:
            raise misfit(folder, what, describe(value), describe(parameter))
        state.setdefault(parameter, {})[key] = live_copy(value, parameter, group)
    return state


def live_copy(value: Tensor, parameter: Tensor, group: Mapping[str, Any]) -> Tensor:
    """Copy an optimizer's tensor to where the optimizer itself would have made it.

    With the parameter's device and memory format, because elementwise kernels may round
    differently in another layout. A step count (no dimensions) lives on the CPU unless the
    optimizer is fused or capturable.
    """
    if value.ndim > 0:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    on_device = group.get("fused") or group.get("capturable")
    return value.to(parameter.device if on_device else "cpu", copy=True)


def read_file(folder: Path, name: str) -> dict[str, Tensor]:
    if not (folder / name).is_file():
        raise misfit(folder, name, "missing", "needed")
    return read_tensors(folder / name)


def describe(tensor: Tensor | None) -> str:
    if tensor is None:
        return "absent"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def misfit(folder: Path, what: str, found: str, wanted: str) -> UserError:
    return UserError(
        f"{folder} does not fit these options: {what} is {found} in the checkpoint but {wanted} "
        "in this run; use the options it was trained with, or another run_dir"
    )
