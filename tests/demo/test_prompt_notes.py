import pytest

from t2vgan.demo.prompt_notes import KnownPrompts
from t2vgan.tokenizer import MAX_TOKENS, UNKNOWN, Vocabulary
from tests.support.pipelines import describe

TRAINING = ("a red square", "a blue circle", "a green circle")
HELD_OUT = ("a blue square",)


def describe_prompt(prompt, **changes):
    prompts = [*TRAINING, *HELD_OUT]
    words = Vocabulary.from_prompts(prompts).words
    fields = {"words": words, "prompts": TRAINING, "held_out_prompts": HELD_OUT} | changes
    return KnownPrompts.from_info(describe(**fields)).describe(prompt)


@pytest.mark.parametrize("prompt", [*TRAINING, "A RED  square!"])
def test_prompts_of_training_are_named_so(prompt):
    (note,) = describe_prompt(prompt)
    assert note.text == "A prompt of training."
    assert not note.is_warning


def test_held_out_prompts_are_named_so():
    (note,) = describe_prompt("a blue square")
    assert note.text.startswith("Held out")
    assert not note.is_warning


@pytest.mark.parametrize(
    ("prompt", "nearest"),
    [
        ("a red circle", "a red square"),
        ("green circle", "a green circle"),
        ("square", "a red square"),
        ("square red a", "a red square"),
    ],
)
def test_other_prompts_are_warned_of_with_the_nearest_of_training(prompt, nearest):
    (note,) = describe_prompt(prompt)
    assert note.is_warning
    assert note.text.startswith("Not among the 3 prompts of training")
    assert f"nearest is “{nearest}”" in note.text


def test_unknown_words_are_named_with_the_nearest_known_one():
    unknown, unlike = describe_prompt("a red sqare zzz")
    assert unknown.text == "Unknown words, passed over: “sqare” (nearest: “square”), “zzz”."
    assert unknown.is_warning
    assert unlike.is_warning


def test_unknown_words_are_rare_words_where_the_model_has_them():
    (unknown, _) = describe_prompt("a red sqare", words=("a", "red", "square", UNKNOWN))
    assert "read as rare words" in unknown.text


def test_of_many_unknown_words_some_are_named():
    (unknown, _) = describe_prompt(" ".join(f"q{n}" for n in range(9)))
    assert "“q4” and 4 more." in unknown.text


def test_words_beyond_those_read_are_warned_of():
    notes = describe_prompt("red " * (MAX_TOKENS + 1))
    assert any(f"first {MAX_TOKENS} words" in note.text for note in notes)


def test_a_model_that_names_no_prompts_has_no_nearest():
    (note,) = describe_prompt("a red square", prompts=())
    assert note.text == "Not among the 0 prompts of training: expect less."
