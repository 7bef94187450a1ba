"""Train the classifier whose features measure distances.

Command: `python -m t2vgan.evaluation.distribution.features`.
"""

from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.utils import cli

MIN_CLIPS = 500


def train_features(
    *,
    data: tuple[Path, ...],
    out: Path,
    num_clips: int = 8000,
    num_epochs: int = 8,
    seed: int = 0,
) -> None:
    """Train a small classifier whose features measure Frechet and kernel distance.

    Args:
        data: folders of shards whose prompts name attributes; several teach it several sizes
        out: file for the weights
        num_clips: clips of each folder, at most; of all, a tenth only measures the accuracy
        num_epochs: times that each of the others is shown
        seed: seed of the initial weights and of the order of clips
    """
    if num_epochs < 1:
        raise UserError(f"num_epochs={num_epochs} must be at least 1")
    # Torch: not for --help.
    from t2vgan.data.dataset import open_dataset
    from t2vgan.data.mixture import single_dataset
    from t2vgan.evaluation.distribution.feature_network import save_features
    from t2vgan.evaluation.distribution.feature_training import train_feature_network
    from t2vgan.evaluation.real_clips import RealClips

    folders = [RealClips(single_dataset(open_dataset(folder)), num_clips) for folder in data]
    if (found := sum(folder.num_clips for folder in folders)) < MIN_CLIPS:
        raise UserError(f"{found} clips are too few to train features on: give {MIN_CLIPS} or more")
    network, info = train_feature_network(folders, num_epochs=num_epochs, seed=seed)
    save_features(out, network, info)
    for name, share in info.accuracy.items():
        print(f"{name:10} {share:7.1%} of clips not trained on")
    print(f"{out} written")


def main() -> None:
    cli.call(train_features)


if __name__ == "__main__":
    cli.run(main)
