"""Choose the probe's targets: labels, prompts, or captions by retrieval."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from t2vgan.evaluation.prompt_accuracy.prompts import merge_paraphrases

Kind = Literal["label", "prompt", "caption"]

MIN_CLIPS_PER_CLASS = 8  # on average, over both halves
MAX_CLASSES = 1000
NUM_CANDIDATES = 32  # captions from which the right one is retrieved
MIN_CLIPS = 128  # in both halves: with fewer, the probe is not reliable
BLOCK = 8  # successive clips in the same half, because neighbours are often from one film


@dataclass(frozen=True)
class Targets:
    """What the probe names."""

    kind: Kind | None
    """The kind of target; None if nothing can be named."""
    names: tuple[str, ...]
    """Classes, or distinct captions. Prompts and captions are sorted by frequency, labels by name;
    prompts of the same meaning are one class."""
    prompt_labels: dict[str, str]
    """Prompt -> its most frequent label; empty if clips have none."""
    notes: tuple[str, ...]
    """Reasons why labels, or anything at all, cannot be named."""

    def of_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return each prompt's index in `names`, or -1."""
        places = {name: place for place, name in enumerate(self.names)}
        named: Sequence[str] = prompts
        if self.kind == "label":
            named = [self.prompt_labels.get(prompt, "") for prompt in prompts]
        elif self.kind == "prompt":
            named = merge_paraphrases(prompts, known=self.names)
        return np.array([places.get(name, -1) for name in named], dtype=np.int64)

    def of_clips(self, prompts: Sequence[str], labels: Sequence[object]) -> np.ndarray:
        """Return the index in `names` of each real clip's target, (N,)."""
        if self.kind != "label":
            return self.of_prompts(prompts)
        places = {name: place for place, name in enumerate(self.names)}
        return np.array([places[str(label)] for label in labels], dtype=np.int64)


def choose_targets(prompts: Sequence[str], labels: Sequence[object]) -> Targets:
    """Choose targets by the prompts and labels of N real clips."""
    notes: list[str] = []
    texts, problem = read_labels(labels)
    prompt_labels = label_prompts(prompts, texts) if texts else {}
    if problem:
        notes.append(problem)
    if len(prompts) < MIN_CLIPS:
        notes.append(f"a probe needs {MIN_CLIPS} real clips, found {len(prompts)}")
        return Targets(None, (), prompt_labels, tuple(notes))
    if texts:
        names = tuple(sorted(set(texts)))
        if 1 < len(names) <= MAX_CLASSES and len(names) * MIN_CLIPS_PER_CLASS <= len(texts):
            return Targets("label", names, prompt_labels, tuple(notes))
        notes.append(
            "all labels are equal; prompts are named instead"
            if len(names) == 1
            else f"{len(names)} labels of {len(texts)} clips are too many: the probe needs"
            f" {MIN_CLIPS_PER_CLASS} clips of each and names at most {MAX_CLASSES};"
            " prompts are named instead"
        )
    counts = Counter(merge_paraphrases(prompts))
    if len(counts) == 1:
        return Targets(None, (), prompt_labels, (*notes, format_only_prompt(prompts[0])))
    few = len(counts) <= 2 * NUM_CANDIDATES and len(counts) * MIN_CLIPS_PER_CLASS <= len(prompts)
    kind: Kind = "prompt" if few or len(counts) < NUM_CANDIDATES else "caption"
    if kind == "caption":
        counts = Counter(prompts)
    names = tuple(sorted(counts, key=lambda prompt: (-counts[prompt], prompt)))
    return Targets(kind, names, prompt_labels, tuple(notes))


def format_only_prompt(prompt: str) -> str:
    """Return why clips of one prompt cannot be named."""
    return f"all clips have the prompt {prompt!r}" if prompt else "the clips have no captions"


def read_labels(labels: Sequence[object]) -> tuple[list[str], str]:
    """Return labels as text, or none and the problem with them."""
    given = sum(label is not None for label in labels)
    if not given:
        return [], ""
    if given < len(labels):
        return [], f"only {given} of {len(labels)} clips have a label; prompts are named instead"
    for label in labels:
        if not isinstance(label, str | int) or label == "":
            kind = type(label).__name__
            return [], (
                f"label={label!r:.60} is of type {kind}: a label must be text, a whole number or"
                " true or false; prompts are named instead"
            )
    return [str(label) for label in labels], ""


def label_prompts(prompts: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return each prompt's most frequent label; ties go to the first."""
    counts: Mapping[str, Counter[str]] = {prompt: Counter() for prompt in prompts}
    for prompt, label in sorted(zip(prompts, labels, strict=True)):
        counts[prompt][label] += 1
    return {prompt: seen.most_common(1)[0][0] for prompt, seen in counts.items()}


def in_training_half(num_clips: int) -> np.ndarray:
    """Return whether each clip is in the training half, (N,) bool."""
    return np.arange(num_clips) // BLOCK % 2 == 0
