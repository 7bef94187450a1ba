"""Configuration: frozen, validated settings of a run.

Every field is also a `--section.field` option of train.py.
"""

from t2vgan.config.data import DataConfig, parse_mix
from t2vgan.config.model import TEXT_HEAD_SIZE, ClipGanConfig, ModelConfig, NotebookGanConfig
from t2vgan.config.run import Config
from t2vgan.config.train import TrainConfig

__all__ = [
    "TEXT_HEAD_SIZE",
    "ClipGanConfig",
    "Config",
    "DataConfig",
    "ModelConfig",
    "NotebookGanConfig",
    "TrainConfig",
    "parse_mix",
]
