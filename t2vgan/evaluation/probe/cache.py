"""Load the probe of some data from its cache, or train it."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from t2vgan.checkpoint.tensor_files import to_host
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.mixture import DatasetMixture
from t2vgan.data.shard_cache import DEFAULT_PATH
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.probe.build import build_probe
from t2vgan.evaluation.probe.probe import (
    Probe,
    ProbeInfo,
    ProbeSettings,
    assemble_probe,
    load_probe,
    save_probe,
)
from t2vgan.evaluation.probe.training import ProbeStoppedError, ShouldStop, never
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.utils.console import format_error, print_stderr

CACHE_FOLDER = DEFAULT_PATH.parent / "probes"


def load_or_train_probe(
    data: DatasetMixture,
    *,
    settings: ProbeSettings | None = None,
    context: DistributedContext | None = None,
    device: torch.device | str = "cpu",
    path: Path | str | None = None,
    should_stop: ShouldStop = never,
) -> Probe:
    """Load the probe of some data, or train and cache it (collective).

    It is cached next to the manifest of a local folder, if that can be written, else in the user's
    cache folder. `path` names a file to load instead. The main process trains while the others
    wait, and calls `should_stop` between batches.

    Raises:
        UserError: `path` is damaged or of other data, or a sample is damaged.
        ProbeStoppedError: on every rank, if the main process was asked to stop.
    """
    context, settings = context or DistributedContext(), settings or ProbeSettings()
    fingerprint = data.manifest.fingerprint
    if path is not None:
        probe = context.run_on_all(lambda: load_probe(path, device=device))
        if probe.info.dataset_fingerprint != fingerprint:
            raise UserError(
                f"features={path}: trained on other data"
                f" ({probe.info.dataset_fingerprint[:12]}, not {fingerprint[:12]});"
                " leave it out, train one (python -m t2vgan.evaluation.probe), or give its data"
                " as probe_data"
            )
        return probe
    return share_probe(
        lambda: _find_or_train(data, settings, torch.device(device), should_stop), context, device
    )


def share_probe(
    make: Callable[[], Probe], context: DistributedContext, device: torch.device | str
) -> Probe:
    """Create a probe in the main process, and broadcast it (collective).

    Raises:
        ProbeStoppedError: on every rank, if `make` raised it.
    """
    found: list[tuple[ProbeInfo, dict[str, Tensor]]] = []

    def make_parts() -> None:
        with suppress(ProbeStoppedError):
            probe = make()
            found.append((probe.info, to_host(probe.tensors())))

    context.wait_for_main(make_parts)
    if (parts := context.broadcast(found[0] if found else None)) is None:
        raise ProbeStoppedError
    info, tensors = parts
    return assemble_probe(info, tensors, device=device)


def _find_or_train(
    data: DatasetMixture, settings: ProbeSettings, device: torch.device, should_stop: ShouldStop
) -> Probe:
    """Return the cached probe, or train one and cache it if possible."""
    files = cache_files(data, settings)
    for file in files:
        if file.is_file():
            try:
                return load_probe(file, device=device)
            except (UserError, OSError) as error:
                print_stderr(f"the probe is trained again: {format_error(error)}")
    probe = build_probe(RealClips(data, settings.num_clips), settings, device, should_stop)
    for file in files:
        with suppress(OSError):
            save_probe(file, probe)
            break
    return probe


def cache_files(data: DatasetMixture, settings: ProbeSettings) -> list[Path]:
    """Return possible cache files for a data set's probe, preferred first."""
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
    name = f"probe-{data.manifest.fingerprint[:16]}-{digest[:8]}.safetensors"
    folders = [CACHE_FOLDER.expanduser()]
    if len(data.parts) == 1 and isinstance(data.parts[0], LocalDataset):
        folders.insert(0, data.parts[0].path)
    return [folder / name for folder in folders]
