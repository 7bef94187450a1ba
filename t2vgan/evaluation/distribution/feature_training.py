"""Training the feature network: name what each clip's prompt asks for."""

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
    prepare,
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
NOT_ASKED = -100  # what cross entropy passes over


def fit(
    folders: Sequence[RealClips], *, num_epochs: int, seed: int
) -> tuple[FeatureNetwork, FeaturesInfo]:
    """Train on the clips of several data folders, all but a tenth, and measure on that tenth.

    Raises UserError for prompts that the grammar does not know, and where no attribute varies.
    """
    clips, prompts = _read_all(folders)
    labels, values = _labels(prompts)
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
    accuracy = _accuracy(network, heads, clips, labels, validation)
    _standardise(network, clips, training)
    return network, FeaturesInfo(
        dataset_fingerprints=tuple(
            data_set.manifest.fingerprint for folder in folders for data_set in folder.data.parts
        ),
        num_clips=len(training),
        num_epochs=num_epochs,
        seed=seed,
        accuracy=accuracy,
    )


def _read_all(folders: Sequence[RealClips]) -> tuple[Tensor, list[str]]:
    """Return all clips as the network wants them, (N, 8, 32, 32, 3) uint8, and their prompts."""
    prepared, prompts = [], []
    for folder in folders:
        for start in tqdm(range(0, folder.num_clips, CLIPS_AT_ONCE), desc="read clips"):
            frames, some = folder.read(range(start, min(start + CLIPS_AT_ONCE, folder.num_clips)))
            prepared.append(torch.from_numpy(prepare(frames)))
            prompts += some
    check_prompts(prompts)
    return torch.cat(prepared), prompts


def _labels(prompts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Return each attribute's values by number, (N,), and their names; those that prompts vary."""
    asked = [expected_attributes(prompt) or {} for prompt in prompts]
    found = {name: sorted({a[name] for a in asked if name in a}) for name in ATTRIBUTES}
    values = {name: names for name, names in found.items() if len(names) > 1}
    labels = {
        name: torch.tensor([names.index(a[name]) if name in a else NOT_ASKED for a in asked])
        for name, names in values.items()
    }
    return labels, values


def _train(
    network: nn.Module,
    heads: nn.ModuleDict,
    clips: Tensor,
    labels: dict[str, Tensor],
    places: np.ndarray,
    *,
    num_epochs: int,
    seed: int,
) -> None:
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = list(_batches(places, num_epochs, seed))
    for number, batch in enumerate(tqdm(batches, desc="train", unit=" steps")):
        for group in optimizer.param_groups:
            group["lr"] = cosine(number / len(batches), start=LEARNING_RATE, end=0)
        asked = [name for name in labels if (labels[name][batch] != NOT_ASKED).any()]
        if not asked:  # no loss, and the mean of none is NaN
            continue
        features = network(to_video(clips[batch]))
        losses = [F.cross_entropy(heads[name](features), labels[name][batch]) for name in asked]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()


def _batches(places: np.ndarray, num_epochs: int, seed: int) -> Iterator[Tensor]:
    for epoch in range(num_epochs):
        order = torch.from_numpy(places[permutation(len(places), seed, "feature batches", epoch)])
        yield from order.split(TRAINING_BATCH_SIZE)


@torch.no_grad()
def _features(network: nn.Module, clips: Tensor, places: np.ndarray) -> Tensor:
    batches = torch.from_numpy(places).split(BATCH_SIZE)
    return torch.cat([network(to_video(clips[batch])) for batch in batches])


def _accuracy(
    network: nn.Module,
    heads: nn.ModuleDict,
    clips: Tensor,
    labels: dict[str, Tensor],
    places: np.ndarray,
) -> dict[str, float]:
    """Return how often each attribute is named rightly, where a prompt asks for it."""
    features = _features(network, clips, places)
    shares = {}
    for name, head in heads.items():
        wanted = labels[name][places]
        right = head(features).argmax(dim=1)[wanted != NOT_ASKED] == wanted[wanted != NOT_ASKED]
        if len(right):
            shares[name] = round(right.float().mean().item(), 4)
    return shares


def _standardise(network: FeatureNetwork, clips: Tensor, places: np.ndarray) -> None:
    """Let features have mean 0 and variance 1 over real clips; a dead one stays what it is."""
    features = _features(network, clips, places)
    std, mean = torch.std_mean(features, dim=0)
    network.mean.copy_(mean)
    network.std.copy_(torch.where(std > 1e-6, std, 1))
