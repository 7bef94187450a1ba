"""Compute a frozen sentence encoder's states of a vocabulary's words.

The states of a word's tokens in the data's prompts are averaged, whitened, and truncated to the
width of a prompt's embedding. They are cached next to the manifest for later runs on this data.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from t2vgan.checkpoint.tensor_files import read_metadata, read_tensors, write_tensors
from t2vgan.checkpoint.weights import TextEncoderInfo
from t2vgan.config import ClipGanConfig, Config
from t2vgan.errors import UserError
from t2vgan.pipeline.sentence_encoder import SentenceEncoder
from t2vgan.prompts.synonyms import load_synonyms
from t2vgan.tokenizer import UNKNOWN, Vocabulary
from t2vgan.training.run_dir import read_origin
from t2vgan.utils.console import print_stderr
from t2vgan.utils.files import atomic_path

ENCODER_NAME = "text_encoder.json"
PROMPTS_PER_WORD = 32  # enough prompts to average a word's states over
MIN_VARIANCE = 1e-6  # relative to the largest; directions with less are dropped


def load_text_states(
    config: Config, vocabulary: Vocabulary, prompts: Sequence[str], *, keep: bool
) -> tuple[TextEncoderInfo, Tensor]:
    """Return a run's sentence encoder and its word states (V, E).

    With `keep` the states are cached next to the manifest, if the data are in a local folder.

    Raises:
        UserError: the encoder is missing, unsupported, or changed since the run was started.
    """
    model = config.model
    assert isinstance(model, ClipGanConfig)
    encoder = SentenceEncoder.load(model.text_encoder)
    info = TextEncoderInfo(name=model.text_encoder, sha256=encoder.sha256)
    recorded = read_origin(config.run_dir / ENCODER_NAME, TextEncoderInfo)
    if recorded is not None and recorded.sha256 != info.sha256:
        raise UserError(
            f"text encoder {info.name} has changed since {config.run_dir} was started; restore it,"
            " or start a new --run-dir"
        )
    is_local = not config.data.mix and "://" not in config.data.path
    folder = Path(config.data.path) if keep and is_local else None
    states = load_word_states(encoder, vocabulary, prompts, size=model.text_size, folder=folder)
    return info, states


def load_word_states(
    encoder: SentenceEncoder,
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    *,
    size: int,
    folder: Path | None,
) -> Tensor:
    """Compute the word states (V, size), or read cached ones.

    States of padding, of UNKNOWN and of words that the encoder has no token for are zero. If the
    folder is None or cannot be written, they are computed at each start.
    """
    key = hash_inputs(encoder, vocabulary, prompts, size)
    path = None if folder is None else folder / f"text_states-{key[:16]}.safetensors"
    if path is not None and (kept := read_states(path, key, (len(vocabulary), size))) is not None:
        return kept
    states = compute_word_states(encoder, vocabulary, prompts, size)
    if path is not None:
        try:
            with atomic_path(path) as temporary:
                write_tensors(temporary, {"states": states}, {"key": key})
        except OSError as error:
            print_stderr(
                f"note: {path} was not written ({error.strerror}): computed again at each start"
            )
    return states


def hash_inputs(
    encoder: SentenceEncoder, vocabulary: Vocabulary, prompts: Sequence[str], size: int
) -> str:
    """Return the SHA-256 of all inputs that determine the states."""
    inputs = [encoder.sha256, vocabulary.tokenizer, vocabulary.words, sorted(prompts), size]
    return hashlib.sha256(json.dumps([*inputs, list_plain_words()]).encode()).hexdigest()


def read_states(path: Path, key: str, shape: tuple[int, int]) -> Tensor | None:
    """Read cached states; None if absent or damaged."""
    if not path.is_file():
        return None
    try:
        states = read_tensors(path).get("states")
        if read_metadata(path).get("key") == key and states is not None:
            states = states.clone()
            if tuple(states.shape) == shape and states.isfinite().all():
                return states.float()
    except (OSError, UserError):
        pass
    print_stderr(f"note: {path} is damaged, so it is computed again")
    return None


def compute_word_states(
    encoder: SentenceEncoder, vocabulary: Vocabulary, prompts: Sequence[str], size: int
) -> Tensor:
    """Compute whitened states of all words, (V, size)."""
    texts = choose_texts(map(vocabulary.tokenize, prompts))
    sums = torch.zeros(len(vocabulary), encoder.bert.sizes.hidden_size)
    counts = torch.zeros(len(vocabulary), 1)
    for words, states in zip(texts, encoder.embed_words(texts), strict=True):
        for token, state in zip(words, states, strict=True):
            if (number := vocabulary.ids.get(token)) is not None and state.isfinite().all():
                sums[number] += state
                counts[number] += 1
    means = sums / counts.clamp(min=1)
    plain = torch.stack([s.mean(0) for s in encoder.embed_words([[w] for w in list_plain_words()])])
    whitened = whiten(means, torch.cat([means[counts[:, 0] > 0], plain]), size)
    return whitened * (counts > 0)


def choose_texts(texts: Iterable[list[str]]) -> list[list[str]]:
    """Choose texts so that each word is in enough of them."""
    seen: Counter[str] = Counter()
    chosen = []
    for words in texts:
        if any(seen[token] < PROMPTS_PER_WORD for token in words):
            seen.update(set(words))
            chosen.append(words)
    return chosen


def whiten(states: Tensor, sample: Tensor, size: int) -> Tensor:
    """Project states onto a sample's principal directions, with unit variance.

    states (N, H), sample (M, H) -> (N, size). If the sample has fewer directions, the last columns
    are zero.
    """
    mean = sample.mean(0)
    _, deviation, directions = torch.linalg.svd(sample - mean, full_matrices=False)
    variance = deviation.square() / len(sample)
    kept = min(size, int((variance > MIN_VARIANCE * variance[0]).sum()))
    projected = (states - mean) @ directions[:kept].T / variance[:kept].sqrt()
    return F.pad(projected, (0, size - kept))


def list_plain_words() -> list[str]:
    """List common words, which are part of the sample for whitening."""
    return sorted({text for text in load_synonyms().words if text != UNKNOWN})
