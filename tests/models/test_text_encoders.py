"""Text encoders: order and padding."""

import pytest
import torch

from t2vgan.config import ClipGanConfig
from t2vgan.models.text_encoders import (
    TEXT_ENCODERS,
    SentenceTextEncoder,
    build_text_encoder,
    encode_by_all,
    set_word_states,
)
from tests.support.small_networks import SMALL, VOCABULARY, small_discriminator, small_generator


def test_a_bag_of_words_has_no_order_and_a_transformer_has():
    torch.manual_seed(0)
    token_ids = torch.tensor([[3, 5, 2, 6], [2, 6, 3, 5]])
    for name, encoder in TEXT_ENCODERS.items():
        encoder = encoder(vocabulary_size=VOCABULARY, text_size=16)
        assert torch.allclose(*encoder(token_ids, token_ids > 0), atol=1e-5)  # at the start, both
        for key, parameter in encoder.named_parameters():
            if key == "share":
                torch.nn.init.ones_(parameter)
        assert torch.allclose(*encoder(token_ids, token_ids > 0), atol=1e-5) == (name == "bag")


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_padding_does_not_change_a_prompt(name):
    torch.manual_seed(0)
    encoder = TEXT_ENCODERS[name](vocabulary_size=VOCABULARY, text_size=16)
    short = torch.tensor([[3, 5]])
    padded = torch.tensor([[3, 5, 0, 0]])
    torch.testing.assert_close(encoder(short, short > 0), encoder(padded, padded > 0))


@pytest.mark.parametrize("name", [*TEXT_ENCODERS, "minilm"])
def test_encoders_side_by_side_encode_as_each_alone(name):
    torch.manual_seed(0)
    model = ClipGanConfig(text_encoder=name, text_size=16)
    encoders = [build_text_encoder(model, vocabulary_size=VOCABULARY) for _ in range(3)]
    token_ids = torch.tensor([[3, 5, 0], [2, 6, 4]])
    codes = encode_by_all(encoders, token_ids, token_ids > 0)
    assert len(codes) == 3
    for encoder, code in zip(encoders, codes, strict=True):
        torch.testing.assert_close(code, encoder(token_ids, token_ids > 0), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(codes[0], codes[1])


def test_words_of_equal_states_are_equal_until_they_are_trained():
    torch.manual_seed(0)
    encoder = SentenceTextEncoder(vocabulary_size=VOCABULARY, text_size=16)
    states = torch.randn(VOCABULARY, 16)
    states[5] = states[3]
    set_word_states(encoder, states)
    prompts = torch.tensor([[3, 2], [5, 2], [4, 2]])
    text = encoder(prompts, prompts > 0)
    assert torch.equal(text[0], text[1])
    assert not torch.allclose(text[0], text[2])
    text[0, 0].backward()
    assert encoder.words.weight.grad[3].abs().sum() > 0
    assert not encoder.states.requires_grad
    with torch.no_grad():
        encoder.words.weight[5] += 1
    text = encoder(prompts, prompts > 0)
    assert not torch.allclose(text[0], text[1])


def test_all_text_encoders_of_a_network_get_the_states():
    model = SMALL.model_copy(update={"text_encoder": "minilm"})
    states = torch.randn(VOCABULARY, SMALL.text_size)
    for network in (small_generator(model), small_discriminator(model)):
        set_word_states(network, states)
        found = [m for m in network.modules() if isinstance(m, SentenceTextEncoder)]
        assert found
        assert all(torch.equal(encoder.states, states) for encoder in found)
        saved = [name for name in network.state_dict() if name.endswith("text_encoder.states")]
        assert len(saved) == len(found), "weights draw without the sentence encoder"


def test_other_text_encoders_have_no_states():
    encoder = build_text_encoder(ClipGanConfig(), vocabulary_size=VOCABULARY)
    assert not isinstance(encoder, SentenceTextEncoder)
    set_word_states(encoder, torch.randn(VOCABULARY, 64))  # nothing to set
