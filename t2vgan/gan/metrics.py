"""Average logged values over steps and ranks without waiting for the device."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from t2vgan.distributed.context import DistributedContext


class AddedValues(NamedTuple):
    """Hold a name's values (B,) or (), and their counts (B,)."""

    name: str
    values: Tensor
    counts: Tensor | None


class MetricAccumulator:
    """Sum values on the device; `reduce` returns means over steps and ranks.

    A step's values are kept until `add_to_totals` adds all of them at once: a few kernels per step
    instead of a few per value. Totals are updated in place.
    """

    def __init__(self, context: DistributedContext) -> None:
        self.context = context
        self.added: list[AddedValues] = []
        """The step's values so far."""
        self.totals: dict[str, tuple[Tensor, Tensor]] = {}
        """This rank's sum and count of values for each name, () each."""
        self.counted: set[str] = set()
        """Names whose values are added with `counts`."""

    def add(self, name: str, values: Tensor, counts: Tensor | None = None) -> None:
        """Add the mean of `values`, (B,) or (), without a device sync.

        With `counts` (B,), add the mean of the values that count; the others must be 0.
        """
        self.added.append(AddedValues(name, values.detach(), counts))

    def add_finite(self, name: str, values: Tensor) -> None:
        """Add the mean of the finite `values`, (B,) or ()."""
        values = values.reshape(-1)
        self.add(name, values.nan_to_num(0.0, 0.0, 0.0), counts=values.isfinite())

    @contextmanager
    def set_apart(self) -> Iterator[list[AddedValues]]:
        """Collect values added inside this context in a separate list."""
        before, self.added = self.added, []
        try:
            yield self.added
        finally:
            self.added = before

    def pop_added(self) -> list[AddedValues]:
        """Return the step's values so far, and forget them."""
        added, self.added = self.added, []
        return added

    def add_to_totals(self, added: Iterable[AddedValues]) -> None:
        """Add a step's values to the totals, without a device sync."""
        for values in split_repeated(added):
            self._add_to_totals(values)

    @torch.no_grad()
    def _add_to_totals(self, added: Sequence[AddedValues]) -> None:
        counts = {item.name: item.counts for item in added if item.counts is not None}
        self.counted.update(counts)
        sums = {item.name: item.values for item in added if not item.values.ndim}
        counted: dict[str, Tensor] = {}
        for length in dict.fromkeys(len(item.values) for item in added if item.values.ndim):
            vectors = {i.name: i.values for i in added if i.values.ndim and len(i.values) == length}
            own = {name: values for name, values in counts.items() if name in vectors}
            means = torch.stack([*vectors.values(), *own.values()]).mean(1).unbind()
            sums |= dict(zip(vectors, means[: len(vectors)], strict=True))
            counted |= dict(zip(own, means[len(vectors) :], strict=True))
        for name, value in sums.items():
            if name not in self.totals:
                self.totals[name] = (torch.zeros_like(value), torch.zeros_like(value))
        torch._foreach_add_(
            [self.totals[name][0] for name in sums] + [self.totals[name][1] for name in counted],
            [*sums.values(), *counted.values()],
        )
        if others := [self.totals[name][1] for name in sums if name not in counted]:
            torch._foreach_add_(others, 1)

    def reduce(self) -> dict[str, float]:
        """Return the means since the last call (collective); waits for the device.

        Names without values are left out; if none of a name's values count, its mean is 0.
        """
        self.add_to_totals(self.pop_added())
        if not self.totals:
            return {}
        totals = self.context.mean(torch.stack(list(chain(*self.totals.values()))))
        torch._foreach_zero_(list(chain(*self.totals.values())))
        pairs = zip(self.totals, totals.view(-1, 2).tolist(), strict=True)
        return {
            name: total / max(count, 1e-9)
            for name, (total, count) in sorted(pairs)
            if count or name in self.counted
        }

    def state_dict(self) -> dict[str, list[tuple[float, float]]]:
        """Return every rank's totals by name, without empty ones (collective)."""
        self.add_to_totals(self.pop_added())
        own = {name: (total.item(), count.item()) for name, (total, count) in self.totals.items()}
        by_rank = self.context.gather_objects(own)
        totals = {name: [each[name] for each in by_rank] for name in own}
        return {name: each for name, each in totals.items() if any(count for _, count in each)}

    def load_state_dict(self, state: Mapping[str, list[tuple[float, float]]]) -> None:
        """Restore the totals.

        After a change of world size every rank gets their mean over ranks."""
        self.totals = {}
        for name, by_rank in state.items():
            totals = torch.tensor(by_rank, device=self.context.device)
            same = len(by_rank) == self.context.world_size
            own = totals[self.context.rank] if same else totals.mean(0)
            self.totals[name] = (own[0].clone(), own[1].clone())


def split_repeated(added: Iterable[AddedValues]) -> list[list[AddedValues]]:
    """Split values into lists in which each name occurs at most once.

    Each of several micro-batches adds the same names.
    """
    lists: list[list[AddedValues]] = []
    repeats = Counter[str]()
    for item in added:
        if repeats[item.name] == len(lists):
            lists.append([])
        lists[repeats[item.name]].append(item)
        repeats[item.name] += 1
    return lists
