"""What a store knows at the valid times of a forecast: the truth, and the baselines."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.references import References

_SAME_STATE = 1e-3  # relative; float32 rounding and a file's packing are far below

Array = NDArray[np.floating[Any]]


class Truth:
    """What the store knows at the valid times of a forecast file.

    Attributes:
        file: the forecast file.
        store: the store.
        references: fields that anomalies are departures from, of the store unless given.
    """

    def __init__(
        self, file: ForecastFile, store: Store, references: References | None = None
    ) -> None:
        """Find the valid times in the store."""
        self.file, self.store = file, store
        self.references = references or References.of_store(store, file)
        unit = "datetime64[M]" if store.time_step.is_calendar else "datetime64[ns]"
        time, valid_time = store.time.astype(unit), file.valid_time.astype(unit)
        place = np.searchsorted(time, valid_time).clip(max=len(time) - 1)
        self._place = np.where(time[place] == valid_time, place, -1)  # (n, k)
        self._channels = [store.channel_names.index(name) for name in file.channel_names]

    def known(self, forecast_index: int, span: slice) -> NDArray[np.int64]:
        """The lead times, as positions, at which the store has a state."""
        positions = np.arange(len(self.file.steps))[span]
        return positions[self._place[forecast_index, positions] >= 0]

    def states(self, forecast_index: int, positions: NDArray[np.int64]) -> Array:
        """True states (k, c, nlat, nlon)."""
        return np.stack([self.state(*self.key(forecast_index, int(p))) for p in positions])

    def key(self, forecast_index: int, position: int) -> tuple[int, int]:
        """The arguments of `state`: forecasts that overlap share them; the second is the time."""
        trajectory = self.file.trajectory
        place = int(self._place[forecast_index, position])
        return 0 if trajectory is None else int(trajectory[forecast_index]), place

    def state(self, trajectory: int, place: int) -> Array:
        """True state (c, nlat, nlon) at a time of the store."""
        where = (trajectory, place) if self.store.has_trajectories else (place,)
        return self.store.state(*where).numpy()[self._channels]

    def reference(self, forecast_index: int, positions: NDArray[np.int64]) -> Array:
        """The climatology, else the mean of each channel, (k, c, nlat, nlon) or (1, c, 1, 1).

        Raises:
            ValueError: if there is neither, and channels have a mask, so that one is needed.
        """
        found = self.references.of_norms(self.file.valid_time[forecast_index, positions])
        if found is None and self.store.mask is not None:
            raise ValueError(
                f"{self.references.name} has no training split, and so no mean to depart from; "
                "ingest the files again with data.splits"
            )
        nothing = np.zeros((1, len(self._channels), 1, 1), dtype=np.float32)
        return nothing if found is None else found

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the store has values, (c, nlat, nlon)."""
        if self.store.mask is None:
            return np.ones((len(self._channels), *self.file.grid.shape), dtype=bool)
        return self.store.mask.numpy()[self._channels]

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Where model, store and reference of the anomalies have values, (c, nlat, nlon).

        Raises:
            ValueError: if there is no such point of a channel.
        """
        valid = self.file.mask & self.mask & self.references.valid
        for name, of_channel in zip(self.file.channel_names, valid, strict=True):
            if not of_channel.any():
                raise ValueError(
                    f"{self.file.path}, store {self.store.path} and the climatology of "
                    f"{self.references.name} have {name} at no common point; give the store that "
                    "the forecast started from"
                )
        return valid

    def complete(self, channel: int) -> bool:
        """Return True if a channel of the forecast has values at all points."""
        return bool(self.mask[channel].all())

    def check_start(self, forecast_index: int, initial: Array | None = None) -> None:
        """Refuse a forecast that did not start from this store.

        Args:
            forecast_index: which forecast.
            initial: its first state (c, nlat, nlon); read if not given.

        Raises:
            ValueError: if the store lacks the time of the start, or has another state there.
        """
        file = self.file
        if self._place[forecast_index, 0] < 0:
            raise ValueError(
                f"store {self.store.path} has no state at {file.forecast_label(forecast_index)}, "
                f"where a forecast of {file.path} starts; give the store that it started from"
            )
        if file.steps[0] > 0:
            return
        here = file.states(forecast_index, slice(0, 1))[0] if initial is None else initial
        there = self.state(*self.key(forecast_index, 0))
        for name, x, y in zip(file.channel_names, here, there, strict=True):
            both = np.isfinite(x) & np.isfinite(y)  # model and store may have different masks
            size = y[both].std() or 1.0 if both.any() else 1.0
            if (np.abs(x - y) > _SAME_STATE * size)[both].any():
                raise ValueError(
                    f"the forecast of {file.path} from {file.forecast_label(forecast_index)} did "
                    f"not start from store {self.store.path}: {name} differs at lead time 0; give "
                    "the store that it started from"
                )
