"""Prompts as token ids."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.errors import UserError
from t2vgan.tokenizer import (
    MAX_TOKENS,
    UNKNOWN,
    Vocabulary,
    build_pattern,
    has_words,
    split_phrases,
    split_words,
    tokenize,
)
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES

PROMPTS = ("circle moving up-left", "circle moving diagonally up-right", "circle shrinking")
PATTERNS = {version: build_pattern(version) for version in (1, 2)}


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


def test_unknown_words_are_named(vocabulary):
    with pytest.raises(UserError, match=r"unknown words: 'circel' \(--allow-unknown"):
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


# Pairs of captions that differ in combining marks only: Hindi (a boy, a girl runs), Tamil, Thai,
# vocalised Arabic, pointed Hebrew, Bengali, Burmese, Khmer, Persian and Sinhala with joiners.
DIFFERENT = [
    ("लड़का दौड़ता है", "लड़की दौड़ती है"),
    ("பூ", "பொ"),
    ("ไก่ ป่า", "ไก้ ป้า"),
    ("عَلِمَ", "عُلِّمَ"),
    ("סֵפֶר", "סִפֵּר"),
    ("কাল", "কুল"),
    ("ကား", "ကို"),
    ("ការ", "កូរ"),
    ("می\u200cروم", "میروم"),
    ("ක්\u200dෂ", "ක්ෂ"),
    ("o\u0304", "o\u0302"),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_combining_marks_belong_to_their_words(first, second):
    words = tokenize(first), tokenize(second)
    assert words[0] != words[1]
    for prompt, found in zip((first, second), words, strict=True):
        assert len(found) == len(prompt.split()), "no word is cut at a mark"
    vocabulary = Vocabulary.from_prompts([first, second])
    one, two = vocabulary.encode([first, second])[0]
    assert one.tolist() != two.tolist()


@pytest.mark.parametrize(
    "prompt", ["ein café läuft", "Việt Nam", "한국어 문장", "ポケット", "क़लम", "Åse"]
)
def test_composed_and_decomposed_captions_are_the_same_words(prompt):
    forms = [unicodedata.normalize(form, prompt) for form in ("NFC", "NFD")]
    assert forms[0] != forms[1] or prompt == "क़लम"
    assert tokenize(forms[0]) == tokenize(forms[1])
    assert len(tokenize(forms[1])) == len(prompt.split())


@given(st.text(max_size=30))
def test_words_are_whole_and_equal_for_equivalent_texts(text):
    words = tokenize(text)
    assert tokenize(" ".join(words)) == words
    assert tokenize(unicodedata.normalize("NFC", text.lower())) == words
    assert has_words(text) == bool(words)
    assert all(unicodedata.category(token[0])[0] != "M" for token in words), "each has a base"


@pytest.mark.parametrize("prompt", ["\u0301 \u200d", "❤\ufe0f", "👩\u200d🚀"])
def test_marks_and_joiners_without_a_letter_are_no_words(prompt):
    assert tokenize(prompt) == []


@given(st.text(st.characters(codec="ascii")))
def test_versions_agree_on_plain_text(text):
    assert tokenize(text) == tokenize(text, version=1)


def test_a_vocabulary_of_version_1_is_read_as_it_was_trained():
    hindi = DIFFERENT[0]
    old = Vocabulary.from_prompts(hindi, tokenizer=1)
    assert old.words == tuple(sorted({*re.findall(r"\w+", " ".join(hindi))}))
    one, two = old.encode(hindi)[0]
    assert one.tolist() == two.tolist()


@pytest.mark.parametrize("version", [1, 2])
@given(text=st.text() | st.text("aé\u0301\u0e34\u093f\u200c\u200d\u0644\u064e _-1"))
def test_one_pattern_finds_the_same_words(version, text):
    lower = text.lower()
    composed = lower if version == 1 else unicodedata.normalize("NFC", lower)
    assert re.findall(PATTERNS[version], composed) == split_words(text, version)


ARTICLES = st.sampled_from(["a", "an", "The", "one", "another"])
RESTS = st.sampled_from(
    ["red circle", "square moving up and down", "diamond, small and blue", "star"]
)
SEPARATORS = st.sampled_from([" and ", ", ", "; ", ", and ", " while ", ". ", " AND "])
PHRASES = st.builds("{} {}".format, ARTICLES, RESTS)


@given(first=PHRASES, others=st.lists(st.tuples(SEPARATORS, PHRASES), max_size=3))
def test_phrases_begin_at_articles_after_commas_and_conjunctions(first, others):
    prompt = first + "".join(separator + phrase for separator, phrase in others)
    phrases = [first, *(phrase for _, phrase in others)]
    assert split_phrases(prompt, 8) == phrases
    assert split_phrases(prompt, len(phrases)) == phrases
    assert split_phrases(prompt, 1) == [prompt]
    both = split_phrases(prompt, 2)
    assert both[0] == phrases[0]
    assert split_words(prompt)[-len(split_words(both[-1])) :] == split_words(both[-1])


@given(st.text(max_size=80), st.integers(1, 8))
def test_any_text_has_phrases_and_no_word_is_lost_but_conjunctions(prompt, max_phrases):
    phrases = split_phrases(prompt, max_phrases)
    assert 1 <= len(phrases) <= max_phrases
    rest = iter(split_words(prompt))
    for token in (token for phrase in phrases for token in split_words(phrase)):
        assert token in rest, "in order"


@pytest.mark.parametrize(
    "prompt",
    [
        "the circle is small, red and moving up",
        "moving up and down: a square, blue and large",
        "the red circle is small and moving up",
        "a dog chases the cat",
    ],
)
def test_prompts_of_one_object_are_one_phrase(prompt):
    assert split_phrases(prompt, 4) == [prompt]


def test_phrases_are_found_whatever_the_white_space():
    longest = " \t\n\u00a0" * (MAX_CAPTION_BYTES // 5)
    prompt = f"a red circle{longest},{longest}and the{longest}blue square{longest}"
    assert split_phrases(prompt, 3) == ["a red circle", "the blue square"]
    assert split_phrases(f"a{' ' * MAX_CAPTION_BYTES}b", 2) == ["a b"]


def test_padding_stands_between_phrases():
    vocabulary = Vocabulary.from_prompts(["a red circle and a blue square"], max_phrases=2)
    prompts = ["a red circle, a blue square", "a blue circle", "a zebra and a red square"]
    token_ids, token_mask = vocabulary.encode(prompts, allow_unknown=True)
    named = [[vocabulary.words[i - 1] if i else "" for i in row] for row in token_ids]
    assert named == [
        ["a", "red", "circle", "", "a", "blue", "square"],
        ["a", "blue", "circle", "", "", "", ""],
        ["a", "", "a", "red", "square", "", ""],
    ]
    assert ((token_ids > 0) == token_mask).all()
    assert vocabulary.count_tokens(prompts) == 7


def test_many_phrases_are_not_longer_than_the_longest_prompt():
    vocabulary = Vocabulary.from_prompts(["a b"], max_phrases=8)
    prompt = ", ".join(["a b b b b b b b"] * 10)
    assert vocabulary.encode([prompt])[0].shape == (1, MAX_TOKENS)
    assert vocabulary.count_tokens([prompt]) == MAX_TOKENS
