"""Conserved quantities of forecast and truth, and their drift since the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.layout import RADIUS
from forecast.verification.shallow_water import CHANNELS, ShallowWaterFlow
from forecast.verification.truth import Truth
from sphere_ops.grid import EARTH_RADIUS

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Quantity:
    """Area mean that a forecast should keep.

    Attributes:
        name: Name in the scores file.
        long_name: Description.
        units: UDUNITS.
    """

    name: str
    long_name: str
    units: str


class ConservedTotals:
    """Sums over forecasts of conserved quantities.

    These are the area means of the channels that the table of variables calls conserved. A forecast
    of geopotential, vorticity and divergence also has the integrals of the shallow-water equations:
    energy, the mean of φ(V²/2 + Φ_s) + φ²/2, and potential enstrophy, of (ζ + f)²/(2φ), with the
    layer φ, the surface Φ_s, the wind V and the rotation of the Earth.

    Attributes:
        quantities: Quantities, (q,).
        count: Number of forecasts at each lead time, (k,).
    """

    def __init__(self, truth: Truth) -> None:
        """Find the quantities."""
        self._truth, self._file = truth, truth.file
        channels = {v.name: v for v in truth.store.channels}
        whole = truth.valid.all((-2, -1)) & ~truth.moving
        names = [n for n, w in zip(self._file.channel_names, whole, strict=True) if w]
        self._place = {name: self._file.channel_names.index(name) for name in names}
        self._means = [name for name in names if channels[name].conserved]
        self.quantities = [
            Quantity(name, f"Area mean of {name}", channels[name].units) for name in self._means
        ]
        self._integrals: Callable[[Array], Array] | None = None
        if set(CHANNELS) <= set(names):
            self._integrals = self._shallow_water
            self.quantities += [
                Quantity("energy", "Mean total energy times gravity", "m4 s-4"),
                Quantity("potential_enstrophy", "Mean potential enstrophy over gravity", "m-2"),
            ]
        n_values = len(self.quantities), len(self._file.steps)
        self._sums = np.zeros((4, *n_values))  # forecast, truth, and their changes
        self.count = np.zeros(n_values[1], dtype=np.int64)
        self._start: tuple[int, Array] | None = None  # of the forecast that is being added
        self._area = truth.file.grid.area_weights.numpy()

    def add(self, forecast_index: int, position: int, state: Array, true: Array) -> None:
        """Add a state of a forecast and its truth, (c, p); lead times come in their order."""
        if not self.quantities:
            return
        values = np.stack([self._values(state), self._values(true)])
        if self._start is None or self._start[0] != forecast_index:
            self._start = forecast_index, values
        change = values - self._start[1]
        self._sums[..., position] += np.concatenate([values, change])
        self.count[position] += 1

    @property
    def sums(self) -> tuple[NDArray[Any], ...]:
        """Arrays to which those of other forecasts are added."""
        return self._sums, self.count

    def means(self) -> Array:
        """Return means over the forecasts, (4, q, k), NaN where there are none.

        Of forecast and truth, and of their changes since the first lead time of each forecast.
        """
        means: Array = self._sums / np.where(self.count > 0, self.count, np.nan)
        return means

    def _values(self, state: Array) -> Array:
        """Return the quantities (q,) of a state (c, p)."""
        fields = state.reshape(-1, *self._file.grid.shape)
        found = [self._mean(fields[self._place[name]]) for name in self._means]
        more: Array | list[float] = [] if self._integrals is None else self._integrals(fields)
        return np.array([*found, *more])

    def _mean(self, field: Array) -> float:
        return float((field.sum(-1, dtype=np.float64) * self._area[:, 0]).sum())

    def _shallow_water(self, fields: Array) -> Array:
        """Return energy and potential enstrophy."""
        store = self._truth.store
        orography = store.static.get("orography")
        flow = ShallowWaterFlow.of(
            *(fields[None, self._place[name]].astype(np.float64) for name in CHANNELS),
            grid=self._file.grid,
            radius=float(store.attributes.get(RADIUS, EARTH_RADIUS)),
            orography=None if orography is None else orography.numpy(),
        )
        return np.array([self._mean(flow.energy[0]), self._mean(flow.potential_enstrophy[0])])
