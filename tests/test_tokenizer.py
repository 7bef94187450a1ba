"""Prompts as token ids."""

import numpy as np
import pytest

from t2vgan.errors import UserError
from t2vgan.tokenizer import MAX_TOKENS, UNKNOWN, Vocabulary, tokenize

PROMPTS = ("circle moving up-left", "circle moving diagonally up-right", "circle shrinking")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_prompts(PROMPTS)


def test_hyphens_separate_words_and_case_does_not_matter():
    assert tokenize("Circle moving UP-right!") == ["circle", "moving", "up", "right"]


def test_the_order_of_the_data_does_not_change_the_ids(vocabulary):
    assert Vocabulary.from_prompts(reversed(PROMPTS)) == vocabulary
    assert vocabulary.words == tuple(sorted(vocabulary.words))
    assert len(vocabulary) == len(vocabulary.words) + 1


def test_encode_pads_with_zero_and_masks(vocabulary):
    token_ids, token_mask = vocabulary.encode(PROMPTS)
    assert token_ids.dtype == np.int64
    assert token_ids.shape == token_mask.shape == (3, 5)
    assert token_mask.sum(1).tolist() == [4, 5, 2]
    assert (token_ids[~token_mask] == 0).all()
    assert (token_ids[token_mask] > 0).all()
    decoded = [vocabulary.words[i - 1] for i in token_ids[1] if i]
    assert decoded == tokenize(PROMPTS[1])
    assert vocabulary.encode(PROMPTS, length=9)[0].shape == (3, 9)


def test_a_new_combination_of_known_words_is_fine(vocabulary):
    assert vocabulary.encode(["circle moving up-right"])[1].sum() == 4


def test_unknown_words_are_named_with_their_nearest(vocabulary):
    with pytest.raises(UserError, match=r"'circel' \(nearest known: circle\).*--allow-unknown"):
        vocabulary.encode(["circel moving up"])
    token_ids, _ = vocabulary.encode(["circel moving up"], allow_unknown=True)
    assert token_ids.shape == (1, 2)


@pytest.mark.parametrize("prompt", ["", "  ", "-- !"])
def test_an_empty_prompt_is_refused(vocabulary, prompt):
    with pytest.raises(UserError, match="has no words"):
        vocabulary.encode([prompt])


def test_a_prompt_of_unknown_words_only_is_refused_even_when_allowed(vocabulary):
    with pytest.raises(UserError, match="no word that the model knows"):
        vocabulary.encode(["zebra"], allow_unknown=True)


def test_of_an_endless_prompt_the_first_words_are_read():
    """Later words are in no vocabulary and make no two prompts different."""
    prompt = "circle " * MAX_TOKENS
    assert tokenize(prompt + "moving " * 1000) == tokenize(prompt)
    vocabulary = Vocabulary.from_prompts([prompt + "moving up"])
    assert vocabulary.words == ("circle",)
    assert vocabulary.encode([prompt + "moving up"])[1].sum() == MAX_TOKENS


def test_rare_words_share_one_token_that_is_trained():
    prompts = {"a cat runs": 5, "a dog runs": 3, "a zebra sleeps": 1, "a yak sleeps": 1}
    vocabulary = Vocabulary.from_prompts(prompts, max_words=5)
    assert vocabulary.words == ("a", "cat", "dog", "runs", UNKNOWN)
    zebra, yak = vocabulary.encode(["a zebra sleeps", "a yak sleeps"], allow_unknown=True)[0]
    assert zebra.tolist() == yak.tolist() == [1, 5, 5]
    assert len(vocabulary) == 6, "the token has its own vector"
    with pytest.raises(UserError, match=r"'zebra'.*--allow-unknown reads them as rare words"):
        vocabulary.encode(["a zebra runs"])
    assert vocabulary.encode(["giraffe"], allow_unknown=True)[0].tolist() == [[5]]
    assert vocabulary.encode(["<unknown>"], allow_unknown=True)[0].tolist() == [[5]]


def test_words_that_fit_need_no_unknown_token():
    prompts = {"a cat runs": 5, "a dog runs": 3}
    assert Vocabulary.from_prompts(prompts, max_words=4) == Vocabulary.from_prompts(prompts)
    assert Vocabulary.from_prompts(prompts, max_words=3).words == ("a", "runs", UNKNOWN)
