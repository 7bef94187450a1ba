"""What people type at the shipped weights: drawn with a line, or refused with prompts to copy."""

from pathlib import Path

import pytest

from t2vgan.checkpoint.weights import load_weights_info
from t2vgan.errors import UserError
from t2vgan.prompts.matching import PromptMatcher
from t2vgan.tokenizer import Vocabulary
from tests.support.misspellings import misspell

TYPED = Path(__file__).parents[2] / "benchmarks" / "typed_prompts.txt"
PROMPTS = [line for line in TYPED.read_text("utf-8").splitlines() if not line.startswith("#")]


def load_matcher(weights):
    info = load_weights_info(weights)
    vocabulary = Vocabulary(info.words, info.tokenizer)
    return info, PromptMatcher(vocabulary, info.prompts, info.held_out_prompts)


@pytest.mark.parametrize("weights", ["circles", "shapes", "actions"])
def test_none_is_refused_without_a_suggestion_and_none_is_silently_wrong(weights):
    info, matcher = load_matcher(weights)
    known = {*info.prompts, *info.held_out_prompts}
    assert len(PROMPTS) >= 40
    for prompt in PROMPTS:
        try:
            match = matcher.match(prompt)
        except UserError as error:
            line = str(error)
            assert line.count('"') >= 8, "its own and three to copy"
        else:
            line = match.note
            assert line, f"{prompt}: nothing is said"
            assert match.read_as in known or match.read_as == prompt
            if "unlike" not in line:
                assert match.read_as in known
        assert "\n" not in line
        assert len(line) < 300


def test_one_wrong_letter_in_a_prompt_of_circles_changes_nothing():
    info, matcher = load_matcher("circles")
    found = [(p, matcher.match(text)) for p in info.prompts for text in misspell(p)]
    assert len(found) > 1000
    assert not [match for prompt, match in found if match.read_as != prompt]
    assert not [match for _, match in found if "; read: " not in match.note]
