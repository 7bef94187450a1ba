"""Text-to-video GANs: build shards, train, generate, evaluate."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2vgan.evaluation.evaluate import evaluate
    from t2vgan.pipeline import TextToVideo, Videos
    from t2vgan.training.train import train

__version__ = "0.1.0"
__all__ = ["TextToVideo", "Videos", "__version__", "evaluate", "train"]

MODULES = {
    "TextToVideo": "t2vgan.pipeline",
    "Videos": "t2vgan.pipeline",
    "evaluate": "t2vgan.evaluation.evaluate",
    "train": "t2vgan.training.train",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use: PyTorch takes seconds to load."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names only."""
    return __all__
