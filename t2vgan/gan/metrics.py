"""Average logged values over steps and ranks without waiting for the device."""

from collections.abc import Mapping

import torch
from torch import Tensor

from t2vgan.distributed.context import DistributedContext


class MetricAccumulator:
    """Sum values on the device; `reduce` returns means over steps and ranks."""

    def __init__(self, context: DistributedContext) -> None:
        self.context = context
        self.totals: dict[str, Tensor] = {}
        """This rank's sum and number of values for each name, (2,)."""

    def add(self, name: str, values: Tensor, counts: Tensor | None = None) -> None:
        """Add the mean of `values`, or of those with a count.

        No device sync."""
        values = values.detach()
        if counts is None:
            total = torch.stack([values.mean(), torch.ones((), device=values.device)])
        else:
            total = torch.stack([(values * counts).sum(), counts.sum().to(values.dtype)])
        self.totals[name] = self.totals[name] + total if name in self.totals else total

    def reduce(self) -> dict[str, float]:
        """Return the means since the last call (collective); waits for the device.

        The mean of nothing is 0.
        """
        names = sorted(self.totals)
        totals = self.context.mean(torch.stack([self.totals[name] for name in names]))
        self.totals = {}
        return dict(zip(names, (totals[:, 0] / totals[:, 1].clamp(min=1e-9)).tolist(), strict=True))

    def state_dict(self) -> dict[str, list[tuple[float, float]]]:
        """Return every rank's total for each name (collective)."""
        own = {name: tuple(total.tolist()) for name, total in self.totals.items()}
        by_rank = self.context.gather_objects(own)
        return {name: [totals[name] for totals in by_rank] for name in own}

    def load_state_dict(self, state: Mapping[str, list[tuple[float, float]]]) -> None:
        """Restore the totals.

        After a change of world size every rank gets their mean over ranks."""
        self.totals = {}
        for name, by_rank in state.items():
            totals = torch.tensor(by_rank, device=self.context.device)
            same = len(by_rank) == self.context.world_size
            self.totals[name] = totals[self.context.rank] if same else totals.mean(0)
