"""Test the sentence encoder on tiny random models, and MiniLM where it is installed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from t2vgan.errors import UserError
from t2vgan.pipeline.sentence_encoder import MINILM, SentenceEncoder, find_encoder, is_installed

pytest.importorskip("tokenizers", reason="needs the extra text")
from tests.support.sentence_encoders import write_encoder

needs_minilm = pytest.mark.skipif(not is_installed(), reason="needs the extra text: MiniLM")


def test_texts_have_unit_vectors_whatever_else_is_embedded(tmp_path):
    encoder = SentenceEncoder.load(write_encoder(tmp_path / "model"))
    texts = ["a red star", "up", "a red star moving up", "star red a", "up"]
    together = encoder.embed(texts)
    assert together.shape == (5, 8)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    for text, row in zip(texts, together, strict=True):
        torch.testing.assert_close(encoder.embed([text])[0], row)
    assert not torch.allclose(together[0], together[3]), "the order of words matters"


def test_words_have_states_in_their_text(tmp_path):
    encoder = SentenceEncoder.load(write_encoder(tmp_path / "model"))
    texts = [["a", "red", "star"], ["up"], ["red", "moving", "up", "a"]]
    found = [*encoder.embed_words(texts)]
    assert [tuple(states.shape) for states in found] == [(3, 8), (1, 8), (4, 8)]
    assert not torch.allclose(found[0][1], found[2][0]), "red, in two texts"
    mean = torch.nn.functional.normalize(found[0].mean(0), dim=0)
    torch.testing.assert_close(mean, encoder.embed(["a red star"])[0])


def test_words_beyond_the_longest_text_have_no_state(tmp_path):
    encoder = SentenceEncoder.load(write_encoder(tmp_path / "model"))
    (states,) = encoder.embed_words([["up"] * 20])
    assert states.isfinite().all(dim=1).tolist() == [True] * 12 + [False] * 8


def test_long_texts_are_cut(tmp_path):
    encoder = SentenceEncoder.load(write_encoder(tmp_path / "model"))
    torch.testing.assert_close(encoder.embed(["up " * 10_000]), encoder.embed(["up " * 12]))


def test_a_folder_called_minilm_is_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_encoder(tmp_path / MINILM)
    assert find_encoder(MINILM) == Path(MINILM)


def test_an_encoder_does_not_change_with_its_file(tmp_path):
    encoder = SentenceEncoder.load(write_encoder(tmp_path / "model"))
    before = encoder.embed(["a red star"])
    weights = tmp_path / "model" / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(weights.stat().st_size // 2)
        file.write(bytes(weights.stat().st_size // 2))
    assert torch.equal(encoder.embed(["a red star"]), before)


def test_the_checksum_is_that_of_the_files(tmp_path):
    first = SentenceEncoder.load(write_encoder(tmp_path / "a")).sha256
    assert SentenceEncoder.load(write_encoder(tmp_path / "b")).sha256 == first
    changed = {"embeddings.LayerNorm.bias": torch.ones(8)}
    assert SentenceEncoder.load(write_encoder(tmp_path / "c", tensors=changed)).sha256 != first


def test_tensors_may_be_prefixed_and_half_precise(tmp_path):
    plain = write_encoder(tmp_path / "a")
    other = write_encoder(tmp_path / "b")
    tensors = SentenceEncoder.load(plain).bert.tensors
    prefixed = {f"bert.{name}": tensor.half() for name, tensor in tensors.items()}
    save_file(prefixed, other / "model.safetensors")
    expected = SentenceEncoder.load(plain).embed(["a red star"])
    found = SentenceEncoder.load(other).embed(["a red star"])
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"model_type": "t5"}, {}, "model_type is 't5', but only bert"),
        ({"model_type": None}, {}, "model_type is None"),
        ({"hidden_size": "wide"}, {}, "config.json: hidden_size"),
        ({"hidden_act": "relu"}, {}, "config.json: hidden_act"),
        ({"num_attention_heads": 3}, {}, "hidden_size must be a multiple"),
        ({"num_hidden_layers": 10**9}, {}, "config.json: num_hidden_layers"),
        ({"num_hidden_layers": 3}, {}, "encoder.layer.2.* is absent"),
        ({"vocab_size": 9}, {}, r"word_embeddings.weight is \(7, 8\) float32, but \(9, 8\)"),
        ({"vocab_size": 5}, {}, "tokenizer.json has 7 tokens, but the model has 5"),
        ({}, {"embeddings.LayerNorm.bias": None}, "embeddings.LayerNorm.bias is absent"),
    ],
)
def test_models_of_another_kind_are_refused(tmp_path, config, tensors, message):
    folder = write_encoder(tmp_path / "model", config=config, tensors=tensors)
    with pytest.raises(UserError, match=message) as caught:
        SentenceEncoder.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "holds no config.json; give the folder of a Hugging Face model"),
        ("config.json", "[", "config.json: not JSON"),
        ("config.json", "[]", "model_type is None"),
        ("tokenizer.json", None, "holds no tokenizer.json"),
        ("tokenizer.json", "{}", "tokenizer.json cannot be read"),
        ("model.safetensors", None, "no model.safetensors; save the model as safetensors"),
        ("model.safetensors", "no", "not a readable safetensors file"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, name, content, message):
    folder = write_encoder(tmp_path / "model")
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(UserError, match=message):
        SentenceEncoder.load(folder)


def test_pickles_are_never_opened(tmp_path):
    folder = write_encoder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"holds pytorch_model\.bin, which can run code"):
        SentenceEncoder.load(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent: must be minilm or a folder"):
        SentenceEncoder.load(tmp_path / "absent")


@needs_minilm
def test_minilm_knows_what_is_alike():
    encoder = SentenceEncoder.load(MINILM)
    texts = ["a tiny star", "a small star", "a large truck", "the dog is asleep"]
    likeness = encoder.embed(texts) @ encoder.embed(["a little star"])[0]
    assert likeness.argsort(descending=True).tolist()[:2] in ([0, 1], [1, 0])


@needs_minilm
def test_minilm_computes_what_transformers_does():
    (found,) = SentenceEncoder.load(MINILM).embed(["a tiny crimson star getting bigger"])
    expected = torch.tensor([-0.01443, 0.02127, -0.00705, 0.09870])  # transformers 5.23
    torch.testing.assert_close(found[:4], expected, atol=1e-5, rtol=0)
