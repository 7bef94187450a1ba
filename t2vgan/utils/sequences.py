"""Select evenly from sequences, and number repeated items."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def choose_evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items, evenly spaced and including both ends."""
    if len(items) <= most or most < 2:
        return list(items[:most])
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def choose_examples(
    prompts: Sequence[str], held_out: Sequence[str], number: int, most_held_out: int
) -> list[str]:
    """Choose example prompts: some training prompts, then held-out ones."""
    num_held_out = min(len(held_out), most_held_out)
    return [*choose_evenly(prompts, number - num_held_out), *choose_evenly(held_out, num_held_out)]


def number_repeats(items: Sequence[Hashable]) -> list[int]:
    """Return how many items before each one are equal to it."""
    seen = Counter[Hashable]()
    numbers = []
    for item in items:
        numbers.append(seen[item])
        seen[item] += 1
    return numbers
