"""Text encoders: order and padding."""

import pytest
import torch

from t2vgan.models.text_encoders import TEXT_ENCODERS
from tests.support.small_networks import VOCABULARY


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
