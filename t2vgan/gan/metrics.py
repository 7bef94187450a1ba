"""Numbers noted in the steps between two lines of metrics: their means, summed on the device."""

from collections.abc import Mapping

import torch
from torch import Tensor

from t2vgan.distributed.context import DistributedContext


class MetricAccumulator:
    """Means over ranks and over the steps since they were last read."""

    def __init__(self, processes: DistributedContext) -> None:
        self.processes = processes
        self.totals: dict[str, Tensor] = {}
        """Of each name: this rank's sum and how many were added, (2,)."""

    def add(self, name: str, values: Tensor) -> None:
        """Add the mean of values; no device sync."""
        total = torch.stack([values.detach().mean(), torch.ones((), device=values.device)])
        self.totals[name] = self.totals[name] + total if name in self.totals else total

    def read(self) -> dict[str, float]:
        """Return and forget the means (collective); waits for the device."""
        names = sorted(self.totals)
        totals = self.processes.mean(torch.stack([self.totals[name] for name in names]))
        self.totals = {}
        return dict(zip(names, (totals[:, 0] / totals[:, 1]).tolist(), strict=True))

    def unread(self) -> dict[str, list[list[float]]]:
        """Return every rank's total of each name, for a checkpoint (collective)."""
        own = {name: total.tolist() for name, total in self.totals.items()}
        every = self.processes.gather_objects(own)
        return {name: [totals[name] for totals in every] for name in own}

    def restore(self, saved: Mapping[str, list[list[float]]]) -> None:
        """Go on from saved totals; where the world size changed, from their mean over ranks."""
        self.totals = {}
        for name, by_rank in saved.items():
            totals = torch.tensor(by_rank, device=self.processes.device)
            same = len(by_rank) == self.processes.world_size
            self.totals[name] = totals[self.processes.rank] if same else totals.mean(0)
