"""Evenly chosen items, and numbers of what repeats."""

from t2vgan.utils.sequences import choose_evenly, choose_examples, number_repeats


def test_choose_evenly_keeps_the_ends():
    assert choose_evenly(range(3), 6) == [0, 1, 2]
    assert choose_evenly(range(11), 6) == [0, 2, 4, 6, 8, 10]
    assert choose_evenly(range(100), 6)[::5] == [0, 99]


def test_choose_evenly_chooses_one_or_none():
    assert choose_evenly(range(5), 1) == [0]
    assert choose_evenly(range(5), 0) == []
    assert choose_evenly([], 3) == []


def test_repeats_are_numbered_from_0():
    assert number_repeats(["a", "b", "a", "a"]) == [0, 0, 1, 2]


def test_examples_are_spread_over_training_and_end_with_held_out_ones():
    training, held_out = [f"t{n}" for n in range(100)], ["h0", "h1", "h2", "h3"]
    examples = choose_examples(training, held_out, 8, 2)
    assert examples == ["t0", "t20", "t40", "t59", "t79", "t99", "h0", "h3"]
    assert choose_examples(training[:2], [], 8, 2) == ["t0", "t1"]
    assert choose_examples([], [], 8, 2) == []
