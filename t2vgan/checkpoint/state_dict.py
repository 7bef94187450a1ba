"""Save and load a run's whole state, bit for bit, without pickle.

    run_dir/checkpoints/step_00001000/
        generator.safetensors ...               one file per network
        generator_optimizer.safetensors ...     one file per optimizer: "<parameter name>/<key>"
        state.json                              counters and other plain values
        MANIFEST.json                           sizes and checksums of the above, written last

storage.py publishes such a folder atomically. Optimizer hyperparameters are not stored, because the
config and the schedules determine them.
"""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.optim import Optimizer

from t2vgan.checkpoint import storage
from t2vgan.checkpoint.storage import STATE_NAME, step_folder
from t2vgan.checkpoint.tensor_files import (
    add_missing,
    check_finite,
    format_tensor,
    read_tensors,
    to_host,
    write_tensors,
)
from t2vgan.errors import UserError

State = dict[str, JsonValue]
Snapshot = dict[str, dict[str, Tensor]]  # file name -> tensor name -> tensor on the host


def create_snapshot(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> Snapshot:
    """Copy all tensors to host memory, so that training can go on."""
    files = collect_tensors(modules, optimizers)
    return {name: to_host(tensors) for name, tensors in files.items()}


def save_checkpoint(
    run_dir: Path | str,
    step: int,
    snapshot: Snapshot,
    state: State,
    *,
    keep: int = storage.LEAST_KEPT,
    protect: Collection[int] = (),
    replace: bool = False,
) -> Path:
    """Write a snapshot as the checkpoint of `step`; return its folder.

    May be called from any thread. Without `replace`, a good checkpoint of the same step is kept.
    Afterwards all are removed except the newest `keep` (at least two), this one and those in
    `protect`.

    Raises:
        OSError: the disk is full or not writable; older checkpoints are untouched.
    """
    folder = step_folder(run_dir, step)
    storage.remove_temporary(run_dir)
    if not storage.verify_or_set_aside(folder) or replace:
        write_checkpoint(folder, snapshot, json.dumps(state, indent=1))
    storage.remove_old(run_dir, keep=keep, protect={step, *protect})
    return folder


def find_latest_step(
    run_dir: Path | str, wanted: Callable[[State], bool] = lambda state: True
) -> int | None:
    """Return the step of the newest good checkpoint; None without any.

    Damaged ones are set aside with a warning; leftovers of killed saves are removed. Good ones
    whose state is not `wanted` are set aside too, because the run will need their names. With
    several processes, only the main rank calls this and broadcasts the step, so that all load the
    same.

    Raises:
        UserError: only damaged checkpoints are left; starting over would hide the loss.
    """
    storage.remove_temporary(run_dir)
    for step, folder in reversed(storage.list_folders(run_dir)):
        if storage.verify_or_set_aside(folder):
            if wanted(storage.read_state(folder)):
                return step
            storage.set_aside(folder, "unwanted")
    folder = storage.checkpoints_folder(run_dir)
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
    """Load a verified checkpoint on any rank; return its state.

    Tensors are copied to the networks' devices.

    Raises:
        UserError: a tensor is missing, unknown or of another shape or dtype, or a network's tensor
            holds NaN or infinity; nothing is changed.
    """
    folder = step_folder(run_dir, step)
    names = parameter_names(modules)
    module_states = {name: read_module(folder, name, module) for name, module in modules.items()}
    optimizer_states = {
        name: read_optimizer(folder, name, optimizer, names)
        for name, optimizer in optimizers.items()
    }
    state = storage.read_state(folder)

    for name, module in modules.items():
        module.load_state_dict(module_states[name])
    for name, optimizer in optimizers.items():
        optimizer.state.clear()
        optimizer.state.update(optimizer_states[name])
    return state


# --- live tensors -> files ---------------------------------------------------------------------


def collect_tensors(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> Snapshot:
    """Return a checkpoint's tensors, not copied, by file name."""
    names = parameter_names(modules)
    files = {f"{name}.safetensors": module.state_dict() for name, module in modules.items()}
    for name, optimizer in optimizers.items():
        files[f"{name}_optimizer.safetensors"] = {
            f"{names[parameter]}/{key}": value
            for parameter, values in optimizer.state.items()
            for key, value in values.items()
        }
    return files


def write_checkpoint(folder: Path, files: Snapshot, state_json: str) -> None:
    """Write CPU tensors and the state, and publish them as `folder`."""
    num_bytes = len(state_json) + sum(
        tensor.nbytes for tensors in files.values() for tensor in tensors.values()
    )
    with storage.publish_folder(folder, num_bytes) as temporary:
        for name, tensors in files.items():
            write_tensors(temporary / name, tensors)
        (temporary / STATE_NAME).write_text(state_json)


def parameter_names(modules: Mapping[str, nn.Module]) -> dict[Tensor, str]:
    """Return `module.parameter` names by parameter; tensors hash by identity."""
    return {
        parameter: f"{module_name}.{name}"
        for module_name, module in modules.items()
        for name, parameter in module.named_parameters()
    }


# --- files -> tensors that fit -----------------------------------------------------------------


def read_module(folder: Path, name: str, module: nn.Module) -> dict[str, Tensor]:
    """Read a network's tensors; check their names, shapes and dtypes."""
    expected = module.state_dict()
    saved = add_missing(read_file(folder, f"{name}.safetensors"), expected)
    for key in sorted(expected.keys() | saved.keys()):
        found, wanted = format_tensor(saved.get(key)), format_tensor(expected.get(key))
        if found != wanted:
            raise mismatch_error(folder, f"{name}.{key}", found, wanted)
    remedy = "move this checkpoint away to resume from the previous one"
    check_finite(folder / f"{name}.safetensors", saved, remedy)
    return saved


def read_optimizer(
    folder: Path, name: str, optimizer: Optimizer, names: Mapping[Tensor, str]
) -> dict[Tensor, dict[str, Tensor]]:
    """Read an optimizer's state by parameter, in the parameters' layout."""
    saved = read_file(folder, f"{name}_optimizer.safetensors")
    parameters = {
        names[parameter]: (parameter, group)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    updated = {key.rpartition("/")[0] for key in saved}  # no state before a first update
    expected = {
        f"{parameter_name}/{key}": value
        for parameter_name, (parameter, group) in parameters.items()
        if parameter_name in updated
        for key, value in adam_state(parameter, group).items()
    }
    state: dict[Tensor, dict[str, Tensor]] = {}
    for full_key in sorted(saved.keys() | expected.keys()):
        found, wanted = format_tensor(saved.get(full_key)), format_tensor(expected.get(full_key))
        if found != wanted:
            raise mismatch_error(folder, f"{name}_optimizer.{full_key}", found, wanted)
        parameter_name, _, key = full_key.rpartition("/")
        copied = torch.empty_like(expected[full_key]).copy_(saved[full_key])
        state.setdefault(parameters[parameter_name][0], {})[key] = copied
    return state


def adam_state(parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors like those of a parameter's state in Adam.

    The memory format is that of the parameter, because elementwise kernels may round differently in
    another layout. The step count is on the CPU unless the optimizer is fused or capturable.
    """
    on_device = group.get("fused") or group.get("capturable")
    step = torch.empty((), dtype=torch.float32, device=parameter.device if on_device else "cpu")
    moments = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group.get("amsgrad") else [])]
    return {"step": step, **dict.fromkeys(moments, parameter)}


def read_file(folder: Path, name: str) -> dict[str, Tensor]:
    if not (folder / name).is_file():
        raise mismatch_error(folder, name, "missing", "needed")
    return read_tensors(folder / name)


def mismatch_error(folder: Path, what: str, found: str, wanted: str) -> UserError:
    return UserError(
        f"{folder} does not fit these options: {what} is {found} in the checkpoint but {wanted} "
        "in this run; use the options it was trained with, or another run_dir"
    )
