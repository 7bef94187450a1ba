"""Write a run's config.json and run.json, and check changed options."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.tokenizer import VERSION
from t2vgan.training.state import Lengths
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.frozen import flatten, naming_faults
from t2vgan.utils.untrusted import MAX_JSON_BYTES, JsonError, read_bytes, read_json

CONFIG_NAME = "config.json"
RUN_NAME = "run.json"
REMEDY = "start a new --run-dir"
EARLIER = {"standardize": False, "augment": 0.0}
"""Options of `train` that earlier versions lacked -> the value equivalent to their behaviour."""

Model = TypeVar("Model", bound=BaseModel)

# Any other option affects the trained model, so it must not change when a run is resumed.
CHANGEABLE = frozenset(
    {
        "run_dir",
        "data.path",  # the data's fingerprint is compared instead
        "data.mix",
        "data.cache_path",
        "data.cache_gigabytes",
        "data.num_threads",
        "data.verify_checksums",
        "data.max_bad_fraction",
        "data.read_timeout_seconds",
        "train.num_steps",
        "train.lengthening",
        "train.micro_batch_size",
        "train.precision",
        "train.gradient_checkpointing",
        "log_every_steps",
        "sample_every_steps",
        "evaluate_every_steps",
        "evaluate_num_clips",
        "save_every_steps",
        "keep_checkpoints",
        "max_bad_steps",
        "check_ranks_every_steps",
        "timeout_seconds",
        "tracking",
        "num_cpu_threads",
        "compile",
        "cuda_graphs",
    }
)


class RunRecord(BaseModel):
    """The fields of run.json that are read."""

    schedule_lengths: Lengths = []
    tokenizer: Annotated[int, Field(ge=1, le=VERSION)] = 1


def load_config(path: Path) -> Config:
    """Read a run's config.json, also of earlier versions."""
    try:
        content = read_json(path)
        for name, value in EARLIER.items():
            content["train"].setdefault(name, value)
        with naming_faults(f"{path}", REMEDY):
            return Config.model_validate_json(json.dumps(content))
    except (LookupError, TypeError, AttributeError, JsonError) as error:
        raise UserError(f"{path} is damaged ({error}); {REMEDY}") from error


def check_same_run(config: Config) -> list[str]:
    """Return the options that changed since the run was started.

    Raises:
        UserError: an option changed that affects the trained model.
    """
    path = config.run_dir / CONFIG_NAME
    if not path.exists():
        return []
    before, now = flatten(load_config(path).redacted()), flatten(config.redacted())
    changed = {
        name: f"{name}: {before.get(name)} -> {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }
    if refused := [text for name, text in changed.items() if name not in CHANGEABLE]:
        raise UserError(
            f"{config.run_dir} was started with other options ({'; '.join(refused)}), which affect"
            " its model; use them again, or start another run with --run-dir"
        )
    return list(changed.values())


def read_lengths(run_dir: Path) -> Lengths:
    """Read the lengths of a run's schedules, for checkpoints without them."""
    lengths = read_record(run_dir / RUN_NAME).schedule_lengths
    return lengths or [(0, load_config(run_dir / CONFIG_NAME).train.num_steps)]


def read_tokenizer(run_dir: Path) -> int:
    """Read a run's tokenizer version; the current one for a new run."""
    path = run_dir / RUN_NAME
    return read_record(path).tokenizer if path.exists() else VERSION


def read_record(path: Path) -> RunRecord:
    """Read a run.json; return the defaults if there is none."""
    # Its command may hold file names that are not valid Unicode.
    content = read_json(path, errors="replace") if path.exists() else {}
    with naming_faults(f"{path}", REMEDY):
        return RunRecord.model_validate(content)


def read_origin(path: Path, model: type[Model]) -> Model | None:
    """Read a record of what a run was started with, if any."""
    if not path.exists():
        return None
    with naming_faults(f"{path}", REMEDY):
        return model.model_validate_json(read_bytes(path, MAX_JSON_BYTES))


def write_origin(path: Path, record: BaseModel) -> None:
    """Write a record of what a run was started with."""
    atomic_write_bytes(path, record.model_dump_json(indent=1).encode() + b"\n")


def check_same_data(config: Config, fingerprint: str, trained_on: object) -> None:
    """Raise UserError unless the data's fingerprint is that of a checkpoint."""
    if fingerprint != trained_on:
        raise UserError(
            f"{config.data.name} is not the data that {config.run_dir} was trained on; use that"
            " data, or start another run with --run-dir"
        )


def write_run_files(config: Config, environment: dict[str, Any]) -> None:
    """Write config.json and run.json."""
    atomic_write_bytes(
        config.run_dir / CONFIG_NAME, config.redacted().model_dump_json(indent=2).encode() + b"\n"
    )
    text = json.dumps(environment, indent=2)
    atomic_write_bytes(config.run_dir / RUN_NAME, text.encode() + b"\n")
