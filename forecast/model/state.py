"""State of a forecast: the value that a model steps, from batches to forecast files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.time.calendar import Times


@dataclass(frozen=True, eq=False)
class NoiseState:
    """Noise of the samples of a state, which the next step uses.

    It lives on the CPU, and every rank of a mesh holds all of it: the same numbers on any device
    and mesh.

    Attributes:
        seeds: whole numbers of each sample, int64 (b, k).
        steps: number of steps since the noise was attached, int64 (b,).
        coeffs: coefficients of each length scale if the noise is correlated in time, complex64
            (b, channels, lmax, lmax); empty otherwise.
    """

    seeds: NDArray[np.int64]
    steps: NDArray[np.int64]
    coeffs: tuple[Tensor, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """Return real tensors by name, from which `from_tensors` returns the same noise.

        The first dimension of each is that of the samples.
        """
        named = {"seeds": torch.from_numpy(self.seeds), "steps": torch.from_numpy(self.steps)}
        return named | {f"coeffs_{i}": torch.view_as_real(c) for i, c in enumerate(self.coeffs)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> NoiseState:
        """Return the noise whose `tensors` these are."""
        seeds, steps = (tensors[name].cpu().numpy() for name in ("seeds", "steps"))
        count = len(tensors) - 2
        coeffs = [tensors[f"coeffs_{i}"].cpu().float().contiguous() for i in range(count)]
        return cls(seeds, steps, tuple(torch.view_as_complex(c) for c in coeffs))


@dataclass(frozen=True, eq=False)
class State:
    """Fields of some samples at one time each, and the fields before them that a model sees.

    Attributes:
        fields: (b, c, nlat, nlon), physical units; in a mesh own rows.
        time: valid times of `fields`, datetime64 (b,).
        history: the fields one, two, ... time steps before, in the order of time: the oldest
            first. Each has the shape of `fields`.
        noise: noise that the next step uses; see `Forecaster.with_noise`. None for a deterministic
            model.
        ahead: the fields one, two, ... time steps later that are predicted already, by a model that
            predicts several at once (`model.bundle`). Each has the shape of `fields`.
    """

    fields: Tensor
    time: Times
    history: tuple[Tensor, ...] = ()
    noise: NoiseState | None = None
    ahead: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ValueError: if the parts do not have the same samples, channels and grid.
        """
        shapes = [tuple(x.shape) for x in (*self.ahead, *self.series)]
        if self.fields.ndim != 4 or len(set(shapes)) > 1 or len(self.time) != len(self.fields):
            raise ValueError(
                f"a state of fields {shapes[-1]}, {len(self.time)} times and other fields "
                f"{shapes[:-1]}; expected fields (b, c, nlat, nlon), b times, and a history of "
                "fields of that shape"
            )

    @classmethod
    def from_series(cls, series: Tensor, time: Times) -> State:
        """Build a state from consecutive fields.

        Args:
            series: (b, n + 1, c, nlat, nlon), in the order of time: a history of n and the fields.
            time: valid times of the last fields, (b,).
        """
        *history, fields = series.unbind(1)
        return cls(fields, time, tuple(history))

    @property
    def series(self) -> tuple[Tensor, ...]:
        """History and fields, in the order of time."""
        return (*self.history, self.fields)

    def advance(self, fields: Tensor, time: Times, noise: NoiseState | None = None) -> State:
        """Return the state of the next fields, with a history as long as that of this one.

        Args:
            fields: the next fields.
            time: their valid times.
            noise: noise of the step after these fields.
        """
        return State(fields, time, self.series[1:], noise)

    def following(self, time: Times) -> State:
        """Return the state of the first fields that are ahead, at their valid times (b,)."""
        fields, *ahead = self.ahead
        return State(fields, time, self.series[1:], self.noise, tuple(ahead))

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply a function to the fields, to each part of the history and to those ahead."""
        history, ahead = (tuple(function(x) for x in of) for of in (self.history, self.ahead))
        return replace(self, fields=function(self.fields), history=history, ahead=ahead)

    def repeat(self, n: int) -> State:
        """Return n equal samples for each sample, one after the other; without noise."""
        series = [x.repeat_interleave(n, dim=0) for x in self.series]
        return State(series[-1], np.repeat(self.time, n), tuple(series[:-1]))

    def to(self, *args: Any, **kwargs: Any) -> State:
        """Move or cast all fields; see `torch.Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))
