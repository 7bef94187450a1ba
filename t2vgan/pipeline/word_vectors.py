"""Precomputed MiniLM vectors of common words.

`python -m t2vgan.pipeline.word_vectors` writes those of the words in the table of synonyms. A word
that is missing in the file is embedded on demand, as are all if the file is of another encoder.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import t2vgan
from t2vgan.checkpoint.tensor_files import read_metadata, read_tensors, write_tensors
from t2vgan.pipeline.sentence_encoder import MINILM, SentenceEncoder
from t2vgan.prompts.synonyms import load_synonyms
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout
from t2vgan.utils.files import atomic_path

logger = logging.getLogger(__name__)

FILE = Path(t2vgan.__file__).parent / "prompts" / "word_vectors.safetensors"


@lru_cache(maxsize=1)
def load_minilm() -> SentenceEncoder:
    """Load `minilm`, once per process."""
    return SentenceEncoder.load(MINILM)


@lru_cache(maxsize=1)
def load_vectors(path: Path = FILE) -> dict[str, np.ndarray]:
    """Load the stored vectors by word; none if of another encoder."""
    metadata = read_metadata(path)
    if metadata["encoder"] != load_minilm().sha256:
        logger.warning("%s is not of the installed encoder; words are embedded again", path)
        return {}
    vectors = read_tensors(path)["vectors"].float().numpy()
    return dict(zip(metadata["words"].split(), vectors, strict=True))


def embed_texts(texts: Sequence[str]) -> np.ndarray:
    """Embed N texts with `minilm`: unit vectors (N, H)."""
    kept = load_vectors()
    others = [text for text in dict.fromkeys(texts) if text not in kept]
    known = kept | dict(zip(others, load_minilm().embed(others).numpy(), strict=True))
    return np.stack([known[text] for text in texts])


def write_vectors(path: Path = FILE) -> None:
    """Embed the words of the table of synonyms, and write their vectors."""
    encoder = load_minilm()
    words = sorted(set(load_synonyms().words))
    metadata = {"encoder": encoder.sha256, "words": " ".join(words)}
    with atomic_path(path) as temporary:
        write_tensors(temporary, {"vectors": encoder.embed(words).to(torch.float16)}, metadata)
    print_stdout(f"{path}: {len(words)} words")


if __name__ == "__main__":
    cli.run(write_vectors)
