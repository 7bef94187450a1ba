"""What a probe names: labels, prompts or captions, and why not."""

import numpy as np
import pytest

from t2vgan.evaluation.probe.targets import choose_targets, in_training_half

TWO = ["a cat", "a dog"] * 100
CAPTIONS = [f"an animal number {number}" for number in range(200)]


def test_a_label_of_every_clip_is_named():
    targets = choose_targets(CAPTIONS, [number % 3 for number in range(200)])
    assert (targets.kind, targets.names, targets.notes) == ("label", ("0", "1", "2"), ())
    assert targets.of_prompts([CAPTIONS[4], "unknown"]).tolist() == [1, -1]
    assert targets.of_clips(["any"], [2]).tolist() == [2]


def test_a_prompt_has_its_most_frequent_label():
    targets = choose_targets(TWO, ["x", "y"] * 90 + ["y", "x"] * 10)
    assert targets.prompt_labels == {"a cat": "x", "a dog": "y"}


def test_without_labels_few_prompts_are_classes_and_many_are_captions():
    assert choose_targets(TWO, [None] * 200).kind == "prompt"
    targets = choose_targets(CAPTIONS, [None] * 200)
    assert (targets.kind, len(targets.names)) == ("caption", 200)


def test_prompts_that_ask_for_the_same_are_one_class():
    prompts = ["circle moving diagonally up-left", "circle moving up-left", "circle moving left"]
    targets = choose_targets(prompts * 50, [None] * 150)
    assert (targets.kind, set(targets.names)) == ("prompt", {prompts[0], prompts[2]})
    indices = targets.of_prompts(prompts)
    assert indices[0] == indices[1] != indices[2]


@pytest.mark.parametrize(
    ("labels", "kind", "note"),
    [
        ([["a list"]] * 200, "prompt", "label=['a list'] is of type list: a label must be text"),
        ([0.5] * 200, "prompt", "label=0.5 is of type float"),
        (["x"] * 199 + [None], "prompt", "only 199 of 200 clips have a label"),
        (list(range(200)), "prompt", "200 labels of 200 clips are too many"),
        (["x"] * 200, "prompt", "all labels are equal"),
    ],
)
def test_labels_that_cannot_be_named_leave_the_prompts(labels, kind, note):
    targets = choose_targets(TWO, labels)
    assert targets.kind == kind
    (line,) = targets.notes
    assert note in line
    assert line.endswith("prompts are named instead")


def test_fifty_thousand_labels_are_one_clear_line():
    labels = [f"user {number}" for number in range(50_000)]
    targets = choose_targets(["a cat", "a dog"] * 25_000, labels)
    assert targets.kind == "prompt"
    assert targets.notes[0].startswith("50000 labels of 50000 clips are too many")


def test_what_cannot_be_named_has_a_reason():
    assert choose_targets(["a cat"] * 200, [None] * 200).notes == (
        "all clips have the prompt 'a cat'",
    )
    few = choose_targets(TWO[:20], [None] * 20)
    assert (few.kind, few.notes) == (None, ("a probe needs 128 real clips, found 20",))


def test_halves_are_equal_and_neighbours_stay_together():
    is_training = in_training_half(1024)
    assert is_training.sum() == 512
    assert np.count_nonzero(is_training[1:] != is_training[:-1]) < 1024 / 7
