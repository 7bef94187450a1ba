"""Generate videos from prompts with trained weights: the Python API."""

from t2vgan.pipeline.hub import find_pretrained
from t2vgan.pipeline.loading import check_tensors
from t2vgan.pipeline.passes import one_worker_per_thread
from t2vgan.pipeline.text_to_video import TextToVideo
from t2vgan.pipeline.videos import Videos

__all__ = ["TextToVideo", "Videos", "check_tensors", "find_pretrained", "one_worker_per_thread"]
