"""Train from Python."""

from collections.abc import Mapping
from typing import Any

from t2vgan.config import Config
from t2vgan.config.presets import PRESETS
from t2vgan.errors import UserError
from t2vgan.training.trainer import Trainer
from t2vgan.utils.frozen import naming_faults


def train(config: Config | str, **changes: Any) -> bool:
    """Train a model, or resume the run in `config.run_dir`.

    config: a `Config`, or the name of a preset. changes: fields to replace; sections are given as
    dictionaries of their fields. Repeating the call resumes the run; Ctrl-C saves it and returns.
    `TextToVideo.from_pretrained(run_dir)` loads its best weights. Returns whether it is complete.

    >>> from t2vgan import train
    >>> data = {"path": "data/circles"}
    >>> train("quickstart", run_dir="runs/a", data=data, train={"seed": 1})  # doctest: +SKIP
    True

    Raises:
        UserError: there is no such preset, a value is out of range, or data and config do not fit.
        RunStoppedError: training cannot continue, such as after many nonfinite steps.
    """
    return Trainer(build_config(config, changes)).run()


def build_config(config: Config | str, changes: Mapping[str, Any]) -> Config:
    """Return a config or preset with fields replaced, validated again."""
    if isinstance(config, str):
        if config not in PRESETS:
            raise UserError(f"config={config!r}: no such preset; known: {', '.join(PRESETS)}")
        config = PRESETS[config]
    if not isinstance(config, Config):
        raise UserError(f"config={config!r}: must be the name of a preset, or a Config")
    with naming_faults():
        return Config.model_validate(merge(config.model_dump(), changes))


def merge(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Replace fields, recursively in sections."""
    merged = dict(fields)
    for name, value in changes.items():
        before = merged.get(name)
        is_section = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(before, value) if is_section else value  # type: ignore[arg-type]
    return merged
