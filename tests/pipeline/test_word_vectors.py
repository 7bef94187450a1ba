"""The kept vectors of words are what MiniLM gives, for all words of the table."""

import numpy as np
import pytest
import torch

import dev.word_vectors
from t2vgan.checkpoint.tensor_files import read_metadata, read_tensors, write_tensors
from t2vgan.pipeline import word_vectors
from t2vgan.pipeline.sentence_encoder import is_installed
from t2vgan.pipeline.word_vectors import FILE, embed_texts, load_minilm, load_vectors
from t2vgan.prompts.synonyms import load_synonyms

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs the extra text: MiniLM")
RENEW = "python -m dev.word_vectors"


def test_the_kept_vectors_are_those_of_the_encoder():
    kept = load_vectors()
    assert set(kept) == set(load_synonyms().words), RENEW
    words = sorted(kept)[::20]
    found = load_minilm().embed(words).numpy()
    np.testing.assert_allclose(np.stack([kept[w] for w in words]), found, atol=1e-3, err_msg=RENEW)


def test_texts_are_embedded_alike_with_and_without_the_file(monkeypatch):
    texts = ["red", "gargantuan", "expanding", "gargantuan", "a red star"]
    with_file = embed_texts(texts)
    monkeypatch.setattr(word_vectors, "load_vectors", dict)
    np.testing.assert_allclose(with_file, embed_texts(texts), atol=1e-3)


def test_words_of_the_file_are_not_embedded_again(monkeypatch):
    class OneVector:
        def embed(self, texts):
            return torch.full((len(texts), 384), float(texts == ["a red star"]))

    kept = load_vectors()
    monkeypatch.setattr(word_vectors, "load_vectors", lambda: kept)
    monkeypatch.setattr(word_vectors, "load_minilm", OneVector)
    red, star, green = embed_texts(["red", "a red star", "green"])
    np.testing.assert_array_equal((red, green), (kept["red"], kept["green"]))
    assert (star == 1).all()


def test_vectors_of_another_encoder_are_not_used(tmp_path, caplog):
    other = tmp_path / "vectors.safetensors"
    write_tensors(other, read_tensors(FILE), read_metadata(FILE) | {"encoder": "another"})
    assert load_vectors(other) == {}
    assert "not of the installed encoder" in caplog.text


def test_the_command_writes_the_file(tmp_path, monkeypatch):
    class FewWords:
        words = ("star", "red", "star")

    monkeypatch.setattr(dev.word_vectors, "load_synonyms", FewWords)
    dev.word_vectors.write_vectors(tmp_path / "vectors.safetensors")
    written = load_vectors(tmp_path / "vectors.safetensors")
    assert list(written) == ["red", "star"]
    for text, vector in written.items():
        np.testing.assert_allclose(vector, load_vectors()[text], atol=1e-3)
