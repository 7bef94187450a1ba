from itertools import product

import pytest

from t2vgan.errors import UserError
from t2vgan.prompts.matching import PromptMatcher, warn_of_length
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary
from tests.support.misspellings import misspell

PROMPTS = tuple(
    f"a {size} {colour} {shape} {motion}"
    for size, colour, shape, motion in product(
        ("small", "large"),
        ("red", "blue"),
        ("circle", "square", "star"),
        ("moving up", "moving down", "moving up-right", "rotating clockwise", "expanding"),
    )
)
HELD_OUT = PROMPTS[7::11]
TRAINING = tuple(prompt for prompt in PROMPTS if prompt not in HELD_OUT)


def matcher(prompts=TRAINING, held_out=HELD_OUT):
    return PromptMatcher(Vocabulary.from_prompts([*prompts, *held_out]), prompts, held_out)


def match(prompt, *args):
    return matcher(*args).match(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "a small red circle moving up",
        "small red circle moving up",
        "The SMALL red circle, moving up!",
    ],
)
def test_case_marks_and_articles_never_matter(prompt):
    found = match(prompt)
    assert found.read_as == "a small red circle moving up"
    assert not found.note
    assert matcher().match(prompt, strict=True) == found


@pytest.mark.parametrize("prompt", HELD_OUT)
def test_held_out_prompts_are_known(prompt):
    assert match(prompt).read_as == prompt
    assert not match(prompt).note


@pytest.mark.parametrize(
    ("prompt", "read_as"),
    [
        ("a tiny crimson star getting bigger", "a small red star expanding"),
        ("a huge navy box goes to the top right corner", "a large blue square moving up-right"),
        ("little scarlet ball ascending", "a small red circle moving up"),
        ("a small red cirle moving up", "a small red circle moving up"),
        (
            "there is a big blue disc and it spins clockwise",
            "a large blue circle rotating clockwise",
        ),
    ],
)
def test_other_words_are_read_as_a_known_prompt(prompt, read_as):
    found = match(prompt)
    assert found.read_as == read_as
    assert found.note.startswith(f'prompt "{prompt}" is read as "{read_as}" (')
    with pytest.raises(UserError, match="strict"):
        matcher().match(prompt, strict=True)


@pytest.mark.parametrize("prompt", ["star", "ball", "going", "red", "big star"])
def test_what_is_not_said_is_added(prompt):
    found = match(prompt)
    assert found.read_as in TRAINING
    assert f'read as "{found.read_as}"' in found.note
    assert "; added: " in found.note


@pytest.mark.parametrize(
    ("prompt", "read_as", "added"),
    [
        ("a red circle moving up", "a small red circle moving up", "small"),
        ("a large crimson ball growing", "a large red circle expanding", ""),
        ("blue star", "a large blue star expanding", "large, expanding"),  # small is held out
        ("a small red star moving", "a small red star moving up", "up"),
    ],
)
def test_what_is_added_is_named(prompt, read_as, added):
    found = match(prompt)
    assert found.read_as == read_as
    assert found.note.partition("; added: ")[2] == added


DIAGONALS = tuple(
    f"circle {motion}"
    for motion in ("moving down", "moving left", "moving up-left", "moving down-left", "expanding")
)


def test_a_direction_that_is_added_to_another_is_no_reading():
    for prompt in ("circle moving up", "a ball going up"):
        found = match(prompt, DIAGONALS, ())
        assert found.read_as == "circle moving up-left"
        assert 'unlike any training prompt; drawn as the nearest: "circle mov' in found.note
        assert found.note.endswith("; added: left")
        with pytest.raises(UserError, match="drawn as the nearest"):
            matcher(DIAGONALS, ()).match(prompt, strict=True)
    found = match("circle moving", DIAGONALS, ())
    assert found.note.endswith(
        'read as "circle moving down" (nearest training prompt); added: down'
    )


def test_meanings_in_each_others_place_are_of_one_kind():
    kinds = matcher().index.kinds
    assert kinds["red"] == kinds["blu"]
    assert kinds["circl"] == kinds["squar"] == kinds["star"]
    assert kinds["up"] == kinds["down"]
    named = [kinds[meaning] for meaning in ("red", "circl", "up", "small", "mov", "rotat", "right")]
    assert len(set(named)) == len(named)


# --- misspelt -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt", ["a small red star moving up-right", "a large blue circle expanding"]
)
def test_a_wrong_letter_is_mended_and_said(prompt):
    for misspelt in misspell(prompt):
        found = match(misspelt)
        assert found.read_as == prompt, misspelt
        if "a " + misspelt.removeprefix("a").lstrip() != prompt:  # not an article
            assert "read: " in found.note or "unknown: " in found.note
            with pytest.raises(UserError, match="strict"):
                matcher().match(misspelt, strict=True)


def test_a_wrong_letter_decides_where_little_is_said():
    assert "moving down" in match("red star moving dwon").read_as
    assert "star" in match("blue tsar").read_as


def test_unknown_words_are_named():
    found = match("a small red star expanding slowly")
    assert found.read_as == "a small red star expanding"
    assert found.note.endswith("; unknown: slowly")


def test_known_words_that_no_prompt_combines_are_drawn_as_they_are():
    prompt = "a red circle a blue square moving up"
    found = match(prompt)
    assert found.read_as == prompt
    assert 'is unlike any training prompt; nearest: "a small' in found.note


def test_words_of_the_data_in_no_listed_prompt_are_drawn_as_they_are():
    vocabulary = Vocabulary.from_prompts(PROMPTS)
    listed = [prompt for prompt in PROMPTS if "circle" in prompt and "rotating" not in prompt]
    prompt = "a red star rotating clockwise"
    assert PromptMatcher(vocabulary, listed).match(prompt).read_as == prompt


def test_mostly_unknown_prompts_are_drawn_as_the_nearest():
    found = match("dog running on a red carpet in Paris")
    assert found.read_as in TRAINING
    assert "red" in found.read_as
    assert "is unlike any training prompt; drawn as the nearest" in found.note


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("heart", "no word that the model knows"),  # not "the", however alike they are spelt
        ("", "has no words"),
        ("🚀🚀🚀", "has no words"),
        ("\x00\x07\x1b", "has no words"),
        ("le chien dort", "no word that the model knows"),
        ("собака бежит", "no word that the model knows"),
        ("zebra " * 10_000, "no word that the model knows"),
        ("z" * 100_000, "no word that the model knows"),
    ],
)
def test_what_says_nothing_is_refused_with_prompts_to_copy(prompt, reason):
    with pytest.raises(UserError, match=reason) as caught:
        match(prompt)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert len(message) < 300
    assert sum(f'"{known}"' in message for known in TRAINING) == 3


@pytest.mark.parametrize("prompt", ["bright", "start", "then", "rad"])
def test_english_is_not_taken_for_a_misspelt_word(prompt):
    with pytest.raises(UserError):
        match(prompt)


def test_the_order_of_words_tells_two_objects_apart():
    prompts = tuple(
        f"a {first} circle and a {second} square"
        for first, second in [("red", "blue"), ("blue", "red")]
    )
    assert match("navy ball, crimson box", prompts, ()).read_as == prompts[1]
    assert match("crimson ball, navy box", prompts, ()).read_as == prompts[0]


def test_words_of_the_data_come_before_their_synonyms():
    prompts = ("a magenta car", "a pink car", "a purple car")
    assert match("one pink car", prompts, ()).read_as == "a pink car"
    assert match("purple cars", prompts, ()).read_as == "a purple car"


def test_weights_without_prompts_know_words_only():
    words = PromptMatcher(Vocabulary.from_prompts(["a red star"]), ())
    assert words.match("star red").read_as == "star red"
    with pytest.raises(UserError, match="unknown words: 'ball'"):
        words.match("red ball")


def test_a_prompt_longer_than_is_read_is_warned_of():
    assert not warn_of_length("red " * MAX_TOKENS)
    assert "65 words; only the first 64 are read" in warn_of_length("red " * (MAX_TOKENS + 1))


# --- prompts of several phrases -------------------------------------------------------------------

PAIRS = (
    *(
        f"a red {one} moving up and a blue {other} expanding"
        for one, other in product(("circle", "square", "star"), repeat=2)
    ),
    "the blue circle moving up, the red star expanding",
)


def match_pair(prompt):
    vocabulary = Vocabulary.from_prompts(PAIRS, max_phrases=2)
    return PromptMatcher(vocabulary, PAIRS).match(prompt)


@pytest.mark.parametrize(
    ("prompt", "read_as"),
    [
        # Words are not exchanged for the sake of a known prompt with the same ones.
        (
            "a blue circle moving up and a red star expanding",
            "the blue circle moving up, the red star expanding",
        ),
        (
            "the red circle moving up and the red star expanding",
            "a red circle moving up, the red star expanding",
        ),
        ("a red star moving up", "a red star moving up"),
    ],
)
def test_each_phrase_is_known_by_itself(prompt, read_as):
    found = match_pair(prompt)
    assert found.read_as == read_as
    assert not found.note


def test_each_phrase_in_other_words_is_read_by_itself():
    found = match_pair("a scarlet box moving up and a navy ball getting bigger")
    assert found.read_as == "a red square moving up, a blue circle expanding"
    assert found.note.count("is read as") == 2
    with pytest.raises(UserError, match="no word that the model knows"):
        match_pair("a red star moving up and a zzzz")
