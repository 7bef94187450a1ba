import pytest

from t2vgan.demo.prompt_notes import KnownPrompts
from t2vgan.prompts.matching import PromptMatcher
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary
from tests.support.pipelines import describe

TRAINING = ("a red square", "a blue circle", "a green circle")
HELD_OUT = ("a blue square",)


def describe_prompt(prompt):
    vocabulary = Vocabulary.from_prompts([*TRAINING, *HELD_OUT])
    info = describe(words=vocabulary.words, prompts=TRAINING, held_out_prompts=HELD_OUT)
    matcher = PromptMatcher(vocabulary, info.prompts, info.held_out_prompts)
    return KnownPrompts.from_info(info).describe(matcher.match(prompt))


@pytest.mark.parametrize("prompt", [*TRAINING, "A RED  square!", "red square"])
def test_prompts_of_training_are_named_so(prompt):
    (note,) = describe_prompt(prompt)
    assert note.text == "A training prompt."
    assert not note.is_warning


def test_held_out_prompts_are_named_so():
    (note,) = describe_prompt("a blue square")
    assert note.text.startswith("A held-out prompt")
    assert not note.is_warning


def test_other_prompts_are_warned_of_with_what_is_drawn():
    (note,) = describe_prompt("a crimson box")
    assert note.is_warning
    assert note.text == (
        'Prompt "a crimson box" is read as "a red square" (nearest training prompt).'
    )


def test_words_beyond_those_read_are_warned_of():
    notes = describe_prompt("red " * (MAX_TOKENS + 1))
    assert any(f"first {MAX_TOKENS} are read" in note.text for note in notes)
