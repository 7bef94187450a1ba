"""Text-to-video GANs: build shards, train, generate, evaluate."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2vgan.pipeline import TextToVideo

__version__ = "0.1.0"
__all__ = ["TextToVideo", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the pipeline at first use: PyTorch takes seconds to load."""
    if name == "TextToVideo":
        from t2vgan.pipeline import TextToVideo

        return TextToVideo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
