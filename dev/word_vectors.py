"""Write the stored vectors of common words: `python -m dev.word_vectors`."""

from pathlib import Path

import torch

from t2vgan.checkpoint.tensor_files import write_tensors
from t2vgan.pipeline.word_vectors import FILE, load_minilm
from t2vgan.prompts.synonyms import load_synonyms
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout
from t2vgan.utils.files import atomic_path


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
