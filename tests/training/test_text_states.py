"""Test the states of words that a sentence encoder gives to a run."""

import pytest
import torch

from t2vgan.config import ClipGanConfig, Config, DataConfig
from t2vgan.errors import UserError
from t2vgan.pipeline.sentence_encoder import MINILM, SentenceEncoder, is_installed
from t2vgan.tokenizer import UNKNOWN, Vocabulary
from t2vgan.training import text_states
from t2vgan.training.run_dir import write_origin
from t2vgan.training.text_states import ENCODER_NAME, load_text_states, load_word_states, whiten

pytest.importorskip("tokenizers", reason="needs the extra text")
from tests.support.sentence_encoders import write_encoder

PROMPTS = ["a red star moving up", "a red star", "a star moving up"]
VOCABULARY = Vocabulary.from_prompts(PROMPTS)
SIZE = 6


@pytest.fixture
def config(tmp_path):
    (tmp_path / "data").mkdir()
    return Config(
        run_dir=tmp_path / "run",
        data=DataConfig(path=str(tmp_path / "data")),
        model=ClipGanConfig(text_encoder=str(write_encoder(tmp_path / "encoder")), text_size=SIZE),
    )


def kept(config):
    from pathlib import Path

    return sorted(Path(config.data.path).iterdir())


def load(config, **options):
    return load_text_states(config, VOCABULARY, PROMPTS, **{"keep": True} | options)


def test_each_word_has_a_state_and_padding_none(config):
    info, states = load(config)
    assert states.shape == (len(VOCABULARY), SIZE)
    assert info.name == config.model.text_encoder
    assert not states[0].any()
    assert (states[1:].abs().sum(1) > 0).all()


def test_the_word_for_rare_ones_has_no_state(config):
    vocabulary = Vocabulary((*VOCABULARY.words[:2], UNKNOWN))
    _, states = load_text_states(config, vocabulary, PROMPTS, keep=False)
    assert not states[vocabulary.ids[UNKNOWN]].any()


def test_they_are_computed_once(config, monkeypatch):
    _, first = load(config)
    assert [path.name[:12] for path in kept(config)] == ["text_states-"]
    monkeypatch.setattr(text_states, "compute_word_states", None)  # calling it would fail
    assert torch.equal(load(config)[1], first)


def test_other_prompts_or_words_or_sizes_are_computed_anew(config):
    encoder = SentenceEncoder.load(config.model.text_encoder)
    arguments = [
        (VOCABULARY, PROMPTS, SIZE),
        (VOCABULARY, PROMPTS[:2], SIZE),
        (Vocabulary(VOCABULARY.words[:3]), PROMPTS, SIZE),
        (VOCABULARY, PROMPTS, 4),
    ]
    for vocabulary, prompts, size in arguments:
        folder = config.run_dir
        states = load_word_states(encoder, vocabulary, prompts, size=size, folder=folder)
        assert states.shape == (len(vocabulary), size)
    assert len([*config.run_dir.iterdir()]) == len(arguments)


def test_nothing_is_kept_where_it_is_not_wanted(config):
    load(config, keep=False)
    assert not kept(config)


def test_damaged_ones_are_computed_again(config, capsys):
    _, states = load(config)
    (path,) = kept(config)
    path.write_bytes(b"nonsense")
    assert torch.equal(load(config)[1], states)
    assert "is damaged, so it is computed again" in capsys.readouterr().err
    assert torch.equal(load(config)[1], states)
    assert not capsys.readouterr().err


def test_a_folder_that_refuses_files_costs_a_line(config, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(text_states, "write_tensors", refuse)  # root may write anywhere
    _, states = load(config)
    assert states.any()
    assert (
        "was not written (Permission denied): computed again at each start"
        in capsys.readouterr().err
    )
    assert not kept(config)


def test_an_encoder_that_changed_since_the_run_was_started_is_refused(config, tmp_path):
    info, _ = load(config)
    config.run_dir.mkdir()
    write_origin(config.run_dir / ENCODER_NAME, info)
    load(config)
    write_encoder(tmp_path / "encoder", tensors={"embeddings.LayerNorm.bias": torch.ones(8)})
    with pytest.raises(UserError, match=r"encoder has changed since .*run was started; restore it"):
        load(config)


def test_an_encoder_that_is_not_there_is_named(config):
    model = config.model.model_copy(update={"text_encoder": "bga"})
    with pytest.raises(UserError, match="text encoder bga: must be minilm or a folder"):
        load(config.model_copy(update={"model": model}))


def test_whitened_states_have_unit_variance_in_all_directions():
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(500, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + 3
    white = whiten(sample, sample, 5)
    torch.testing.assert_close(white.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    covariance = white.T @ white / len(white)
    torch.testing.assert_close(covariance, torch.eye(5), atol=1e-3, rtol=0)
    assert whiten(sample[:2], sample[:2], 4).shape == (2, 4), "two points have one direction"
    assert not whiten(sample[:2], sample[:2], 4)[:, 1:].any()


@pytest.mark.skipif(not is_installed(), reason="needs the extra text: MiniLM")
def test_like_words_have_like_states():
    prompts = [f"a {size} {colour} ball" for size in ("tiny", "little", "huge")
               for colour in ("crimson", "red", "blue")]  # fmt: skip
    vocabulary = Vocabulary.from_prompts(prompts)
    encoder = SentenceEncoder.load(MINILM)
    states = load_word_states(encoder, vocabulary, prompts, size=64, folder=None)
    unit = torch.nn.functional.normalize(states, dim=1)

    def likeness(one, other):
        return unit[vocabulary.ids[one]] @ unit[vocabulary.ids[other]]

    assert likeness("tiny", "little") > likeness("tiny", "red")
    assert likeness("crimson", "red") > likeness("crimson", "huge")
