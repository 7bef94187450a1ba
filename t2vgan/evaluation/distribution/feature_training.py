"""Train the feature network to name what each clip's prompt asks for."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.feature_network import (
    BATCH_SIZE,
    NUM_FEATURES,
    FeatureNetwork,
    FeaturesInfo,
    resize_clips,
)
from t2vgan.evaluation.prompt_accuracy.prompts import ATTRIBUTES, check_prompts, expected_attributes
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.gan.schedules import cosine
from t2vgan.utils.seeds import derive_seed, permutation
from t2vgan.video import to_video

VALIDATION_SHARE = 0.1
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.01
TRAINING_BATCH_SIZE = 64
CLIPS_AT_ONCE = 256  # decoded at their full size
IGNORE_INDEX = -100  # what cross entropy passes over


def train_feature_network(
    folders: Sequence[RealClips], *, num_epochs: int, seed: int
) -> tuple[FeatureNetwork, FeaturesInfo]:
    """Train on nine tenths of the clips, validate on the rest.

    Raises:
        UserError: the grammar does not know prompts, or no attribute varies.
    """
    clips, prompts = _load_clips(folders)
    labels, values = _encode_labels(prompts)
    if not labels:
        raise UserError(
            "data: prompts of one object vary in no attribute, and those of two are passed over;"
            " add data whose prompts vary, such as the scenes `shapes`"
        )
    order = permutation(len(clips), seed, "feature validation")
    num_validation = max(1, round(VALIDATION_SHARE * len(clips)))
    validation, training = order[:num_validation], order[num_validation:]
    torch.manual_seed(derive_seed(seed, "feature network"))
    network = FeatureNetwork()
    heads = nn.ModuleDict({name: nn.Linear(NUM_FEATURES, len(values[name])) for name in values})
    _train(network, heads, clips, labels, training, num_epochs=num_epochs, seed=seed)
    network.eval()
    accuracy = _measure_accuracy(network, heads, clips, labels, validation)
    _standardise(network, clips, training)
    return network, FeaturesInfo(
        dataset_fingerprints=tuple(
            dataset.manifest.fingerprint for folder in folders for dataset in folder.data.parts
        ),
        num_clips=len(training),
        num_epochs=num_epochs,
        seed=seed,
        accuracy=accuracy,
    )


def _load_clips(folders: Sequence[RealClips]) -> tuple[Tensor, list[str]]:
    """Load all clips, resized, and their prompts."""
    clips, prompts = [], []
    for folder in folders:
        for start in tqdm(range(0, folder.num_clips, CLIPS_AT_ONCE), desc="read clips"):
            frames, some = folder.read(range(start, min(start + CLIPS_AT_ONCE, folder.num_clips)))
            clips.append(torch.from_numpy(resize_clips(frames)))
            prompts += some
    check_prompts(prompts)
    return torch.cat(clips), prompts


def _encode_labels(prompts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Encode the attributes in which prompts differ: class indices (N,), class names."""
    asked = [expected_attributes(prompt) or {} for prompt in prompts]
    found = {name: sorted({a[name] for a in asked if name in a}) for name in ATTRIBUTES}
    values = {name: names for name, names in found.items() if len(names) > 1}
    labels = {
        name: torch.tensor([names.index(a[name]) if name in a else IGNORE_INDEX for a in asked])
        for name, names in values.items()
    }
    return labels, values


def _train(
    network: nn.Module,
    heads: nn.ModuleDict,
    clips: Tensor,
    labels: dict[str, Tensor],
    indices: np.ndarray,
    *,
    num_epochs: int,
    seed: int,
) -> None:
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = list(_batches(indices, num_epochs, seed))
    for number, batch in enumerate(tqdm(batches, desc="train", unit=" steps")):
        for group in optimizer.param_groups:
            group["lr"] = cosine(number / len(batches), start=LEARNING_RATE, end=0)
        asked = [name for name in labels if (labels[name][batch] != IGNORE_INDEX).any()]
        if not asked:  # no loss, and the mean of none is NaN
            continue
        features = network(to_video(clips[batch]))
        losses = [F.cross_entropy(heads[name](features), labels[name][batch]) for name in asked]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()


def _batches(indices: np.ndarray, num_epochs: int, seed: int) -> Iterator[Tensor]:
    for epoch in range(num_epochs):
        order = torch.from_numpy(indices[permutation(len(indices), seed, "feature batches", epoch)])
        yield from order.split(TRAINING_BATCH_SIZE)


@torch.no_grad()
def _features(network: nn.Module, clips: Tensor, indices: np.ndarray) -> Tensor:
    batches = torch.from_numpy(indices).split(BATCH_SIZE)
    return torch.cat([network(to_video(clips[batch])) for batch in batches])


def _measure_accuracy(
    network: nn.Module,
    heads: nn.ModuleDict,
    clips: Tensor,
    labels: dict[str, Tensor],
    indices: np.ndarray,
) -> dict[str, float]:
    """Measure the accuracy of each attribute where a prompt names it."""
    features = _features(network, clips, indices)
    shares = {}
    for name, head in heads.items():
        wanted = labels[name][indices]
        is_asked = wanted != IGNORE_INDEX
        right = head(features).argmax(dim=1)[is_asked] == wanted[is_asked]
        if len(right):
            shares[name] = round(right.float().mean().item(), 4)
    return shares


def _standardise(network: FeatureNetwork, clips: Tensor, indices: np.ndarray) -> None:
    """Standardise features over real clips; constant ones keep their scale."""
    features = _features(network, clips, indices)
    std, mean = torch.std_mean(features, dim=0)
    network.mean.copy_(mean)
    network.std.copy_(torch.where(std > 1e-6, std, 1))
