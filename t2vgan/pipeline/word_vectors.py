"""Precomputed MiniLM vectors of common words.

`python -m dev.word_vectors` writes those of the words in the table of synonyms. A word that is
missing in the file is embedded on demand, as are all if the file is of another encoder.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

import t2vgan
from t2vgan.checkpoint.tensor_files import read_metadata, read_tensors
from t2vgan.pipeline.sentence_encoder import MINILM, SentenceEncoder

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
