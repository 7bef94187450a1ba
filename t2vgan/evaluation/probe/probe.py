"""Save and load a probe with its measurements of real clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import t2vgan
from t2vgan.checkpoint.tensor_files import (
    compute_digest,
    read_metadata,
    read_tensors,
    to_host,
    write_with_info,
)
from t2vgan.errors import UserError
from t2vgan.evaluation.probe.network import NUM_FEATURES, ProbeNetwork, TextEncoder
from t2vgan.evaluation.probe.targets import NUM_CANDIDATES, Kind, Targets
from t2vgan.pipeline import check_tensors
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.frozen import Frozen, naming_faults
from t2vgan.utils.seeds import random_generator

FORMAT, FORMAT_VERSION = "t2vgan-probe", "1"
MAX_WORDS = 5000


class ProbeSettings(Frozen):
    """Settings of a probe's training."""

    num_clips: int = 8000
    """Maximal number of real clips: one half trains, the other is held back."""
    num_steps: int = 1250
    """Maximal number of steps; training ends earlier if the loss is near zero."""
    seed: int = 0


class RealNumbers(Frozen):
    """Measurements of held-back real clips, the reference for generated ones."""

    accuracy: float | None = None
    """Share of clips that are named correctly: the ceiling."""
    accuracy_prompts_shuffled: float | None = None
    """The same with shuffled prompts: a floor."""
    accuracy_frames_shuffled: float | None = None
    """The same with each clip's frames in random order."""
    confusion: dict[str, dict[str, int]] = Field(default_factory=dict)
    """True class -> class named -> number of clips; empty for captions."""
    motion_energy: float
    """Mean absolute difference of successive frames, in grey levels."""
    speed_variation: float | None
    """Mean coefficient of variation of the change per step."""
    pixel_variance: dict[str, float]
    """Group of clips -> variance of their thumbnails."""


class ProbeInfo(Frozen):
    """Description of a probe, with measurements of real clips."""

    dataset_fingerprint: str
    settings: ProbeSettings
    kind: Kind | None
    names: tuple[str, ...]
    prompt_labels: dict[str, str]
    words: tuple[str, ...]
    """Vocabulary of captions; empty for classes."""
    tokenizer: int = 1
    """Version of the rules that split prompts into words; missing in files of early versions."""
    notes: tuple[str, ...]
    prompts: tuple[str, ...]
    """Prompts of the held-back real clips, in order."""
    labels: tuple[str, ...]
    """Labels of the same clips; empty without labels."""
    num_steps: int
    """Number of training steps."""
    real: RealNumbers
    t2vgan_version: str = t2vgan.__version__


class ClassHead(nn.Linear):
    """Map features (B, 64) to a logit for each class, (B, C)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(NUM_FEATURES, num_classes)


class CaptionHead(nn.Module):
    """Map features (B, 64) and N captions to logits (B, N)."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.text = TextEncoder(vocabulary_size)
        self.clip = nn.Linear(NUM_FEATURES, NUM_FEATURES)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, features: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        clips = F.normalize(self.clip(features), dim=1)
        texts = F.normalize(self.text(token_ids, token_mask), dim=1)
        return self.log_scale.exp() * clips @ texts.T


def build_head(targets: Targets, vocabulary: Vocabulary) -> ClassHead | CaptionHead:
    """Build the head that names clips by their features."""
    if targets.kind == "caption":
        return CaptionHead(len(vocabulary))
    return ClassHead(max(1, len(targets.names)))


@dataclass(frozen=True)
class Probe:
    """A network with its head, and the features of held-back real clips."""

    network: ProbeNetwork
    head: ClassHead | CaptionHead
    info: ProbeInfo
    features: np.ndarray  # (M, 64)

    @cached_property
    def targets(self) -> Targets:
        info = self.info
        return Targets(info.kind, info.names, info.prompt_labels, info.notes)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.info.words, self.info.tokenizer)

    @cached_property
    def sha256(self) -> str:
        """Checksum of network, features and description."""
        return compute_digest(to_host(self.tensors()), self.info.model_dump_json())

    def tensors(self) -> dict[str, Tensor]:
        parts = {"network": self.network, "head": self.head}
        tensors = {
            f"{part}.{name}": tensor
            for part, module in parts.items()
            for name, tensor in module.state_dict().items()
        }
        return tensors | {"real.features": torch.from_numpy(self.features)}

    @torch.no_grad()
    def name_clips(self, features: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Return the index of the name that each clip gets, (N,).

        For captions, one of 32 is chosen: the clip's own, whose index is that of
        `targets.of_prompts` (-1 if it is not a caption of the real clips), or another.
        """
        device = self.network.feature_std.device
        inputs = torch.from_numpy(features).to(device) * self.network.feature_std
        inputs = inputs + self.network.feature_mean
        if isinstance(self.head, ClassHead):
            return self.head(inputs).argmax(dim=1).cpu().numpy()
        own = self.targets.of_prompts(prompts)
        named = []
        for number, (row, prompt) in enumerate(zip(inputs, prompts, strict=True)):
            others = self._draw_others(prompt, number)
            texts = [prompt, *(self.info.names[place] for place in others)]
            encoded = self.vocabulary.encode(texts, allow_unknown=True)
            tokens = [torch.from_numpy(array).to(device) for array in encoded]
            place = int(self.head(row[None], *tokens).argmax())
            named.append(own[number] if place == 0 else others[place - 1])
        return np.array(named, dtype=np.int64)

    def count_named(self, wanted: np.ndarray, named: np.ndarray) -> dict[str, dict[str, int]]:
        """Count the names given to each class, most frequent first."""
        names, counts = self.info.names, Counter(zip(wanted.tolist(), named.tolist(), strict=True))
        confusion: dict[str, dict[str, int]] = {
            names[place]: {} for place in sorted(set(wanted.tolist()))
        }
        for (asked, found), count in counts.most_common():
            confusion[names[asked]][names[found]] = count
        return confusion

    @cached_property
    def held_back_names(self) -> np.ndarray:
        """Indices of the names of held-back real clips.

        Captions of the other half are excluded: the probe has memorised them in training, and would
        prefer them.
        """
        return np.unique(self.targets.of_prompts(self.info.prompts))

    def _draw_others(self, prompt: str, number: int) -> list[int]:
        """Draw 31 other captions, determined by the clip's number."""
        pool = self.held_back_names
        generator = random_generator(self.info.settings.seed, "captions", number)
        order = pool[generator.random(len(pool)).argsort()[:NUM_CANDIDATES]].tolist()
        return [p for p in order if self.info.names[p] != prompt][: NUM_CANDIDATES - 1]


def save_probe(path: Path | str, probe: Probe) -> None:
    """Save a probe as one self-describing file, atomically written."""
    write_with_info(path, probe.tensors(), probe.info, format=FORMAT, format_version=FORMAT_VERSION)


def load_probe(path: Path | str, *, device: torch.device | str = "cpu") -> Probe:
    """Load a probe that `save_probe` wrote.

    Raises:
        UserError: the file is missing, damaged or not a probe.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"features={path}: no such file; write one with python -m t2vgan.evaluation.probe"
        )
    metadata = read_metadata(path)
    if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise UserError(f"features {path}: not a probe of this version; train it again")
    tensors = {name: tensor.clone() for name, tensor in read_tensors(path).items()}
    if compute_digest(tensors, metadata.get("info", "")) != metadata.get("sha256"):
        raise UserError(f"features {path}: damaged (its checksum differs); copy or train it again")
    with naming_faults(f"features {path}: bad description"):
        info = ProbeInfo.model_validate_json(metadata["info"])
    expected = build_parts(info).state_dict() | {
        "real.features": torch.zeros(len(info.prompts), 64)
    }
    check_tensors(path, tensors, expected=expected)
    return assemble_probe(info, tensors, device=device)


def build_parts(info: ProbeInfo) -> nn.ModuleDict:
    """Build the networks that a probe's description defines."""
    targets = Targets(info.kind, info.names, info.prompt_labels, info.notes)
    head = build_head(targets, Vocabulary(info.words, info.tokenizer))
    return nn.ModuleDict({"network": ProbeNetwork(), "head": head})


def assemble_probe(
    info: ProbeInfo, tensors: Mapping[str, Tensor], *, device: torch.device | str
) -> Probe:
    """Assemble a probe from its description and tensors."""
    parts = build_parts(info)
    parts.load_state_dict({n: tensor for n, tensor in tensors.items() if n != "real.features"})
    parts.to(device).eval()
    network, head = parts["network"], parts["head"]
    assert isinstance(network, ProbeNetwork)
    assert isinstance(head, ClassHead | CaptionHead)
    return Probe(network, head, info, tensors["real.features"].numpy())
