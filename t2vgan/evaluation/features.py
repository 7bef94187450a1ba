"""`python -m t2vgan.evaluation.features`: train the classifier whose features measure distances.

It learns to name the attributes that prompts ask for, from real clips alone.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from t2vgan import cli
from t2vgan.errors import UserError

VALIDATION_SHARE = 0.1
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.01
TRAINING_BATCH_SIZE = 64
CLIPS_AT_ONCE = 256
MIN_CLIPS = 500


def train_features(
    *,
    data: tuple[Path, ...],
    out: Path,
    num_clips: int = 8000,
    num_epochs: int = 8,
    seed: int = 0,
) -> None:
    """Train the classifier whose features Frechet and kernel distance are measured in.

    Args:
        data: folders of shards whose prompts name attributes; several make it know several sizes
        out: file for the weights, .safetensors
        num_clips: clips of each folder, at most; a tenth of them only measure the accuracy
        num_epochs: times that every other clip is shown
        seed: seed of the initial weights and of the order of clips
    """
    from t2vgan.evaluation.feature_network import save_features
    from t2vgan.evaluation.feature_training import fit, read_all
    from t2vgan.evaluation.real_clips import RealClips

    folders = [RealClips(folder, num_clips) for folder in data]
    if sum(folder.num_clips for folder in folders) < MIN_CLIPS:
        raise UserError(f"data={data[0]}: training features needs {MIN_CLIPS} clips at least")
    network, info = fit(folders, num_epochs=num_epochs, seed=seed)
    save_features(out, network, info)
