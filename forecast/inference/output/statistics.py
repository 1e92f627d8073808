"""Running mean, variance, minimum and maximum of fields that come one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

STATISTICS: Final = ("mean", "std", "min", "max")
"""Names of the statistics, in the order of `RunningStatistics.take`."""


@dataclass
class RunningStatistics:
    """Statistics of each sample of a batch over the fields that were added.

    Mean and sum of squared departures are updated as by Welford (1962, Technometrics 4, 419), in
    float64. A value that is missing (NaN) once is missing in all statistics of its point.

    Attributes:
        count: Number of fields of each sample, int64 (b,).
        mean: Mean, float64 (b, v, nlat, nlon).
        squares: Sum of squared departures from the mean, likewise.
        least: Minimum, float32, likewise.
        largest: Maximum, float32, likewise.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    least: Tensor
    largest: Tensor

    @staticmethod
    def empty(shape: Sequence[int], device: torch.device | str = "cpu") -> RunningStatistics:
        """Return statistics of no fields yet, of shape (b, v, nlat, nlon)."""
        zeros = torch.zeros(*shape, dtype=torch.float64, device=device)
        inf = torch.full(tuple(shape), torch.inf, dtype=torch.float32, device=device)
        return RunningStatistics(
            torch.zeros(shape[0], dtype=torch.int64), zeros, zeros.clone(), inf, -inf
        )

    def add(self, fields: Tensor, samples: Sequence[int]) -> None:
        """Add one field of some samples.

        Args:
            fields: Fields of these samples, float32 (len(samples), v, nlat, nlon).
            samples: Their places in the batch, increasing.
        """
        if not samples:
            return
        at: list[int] | slice = list(samples)
        if len(samples) == len(self.count):
            at = slice(None)
        self.count[at] += 1
        count = self.count[at].to(self.mean.device, torch.float64)[:, None, None, None]
        departure = fields - self.mean[at]  # float64
        mean = self.mean[at] + departure / count
        self.squares[at] += departure * (fields - mean)
        self.mean[at] = mean
        self.least[at] = torch.minimum(self.least[at], fields)
        self.largest[at] = torch.maximum(self.largest[at], fields)

    def take(self, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the statistics of some samples, which then begin again.

        Args:
            samples: Their places in the batch.

        Returns:
            Number of fields of each, (len(samples),); and their statistics in the order of
            `STATISTICS`, float32 (len(samples), 4, v, nlat, nlon), missing without any field. The
            standard deviation is that of the fields themselves (divided by their number).
        """
        at = list(samples)
        count = self.count[at]
        of = count.to(self.mean.device, torch.float64)[:, None, None, None]
        std = (self.squares[at].clamp(min=0) / of).sqrt().float()
        values = (self.mean[at].float(), std, self.least[at], self.largest[at])
        found = torch.stack(values, dim=1).where(of[:, None] > 0, torch.nan)
        for tensor, value in zip(self.tensors().values(), _EMPTY, strict=True):
            tensor[at] = value
        return count, found

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors; `from_tensors` is the inverse."""
        return {
            "count": self.count,
            "mean": self.mean,
            "squares": self.squares,
            "least": self.least,
            "largest": self.largest,
        }

    @staticmethod
    def from_tensors(
        tensors: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> RunningStatistics:
        """Return statistics whose `tensors` were saved, on the device of the fields."""
        count, *fields = (tensors[name] for name in RunningStatistics.empty((0, 0)).tensors())
        return RunningStatistics(count.cpu(), *(tensor.to(device) for tensor in fields))


_EMPTY = (0, 0.0, 0.0, torch.inf, -torch.inf)
"""Value of each tensor of the statistics of no fields."""
