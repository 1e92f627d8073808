"""What a store knows at the valid times of a forecast: the truth, and the baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.layout import CLIMATOLOGY
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.model.normalizer import Normalizer

_SAME_STATE = 1e-3  # relative; float32 rounding and a file's packing are far below

Array = NDArray[np.floating[Any]]


class Truth:
    """What the store knows at the valid times of a forecast file."""

    def __init__(self, file: ForecastFile, store: Store) -> None:
        """Find the valid times in the store."""
        self.file, self.store = file, store
        unit = "datetime64[M]" if store.time_step.is_calendar else "datetime64[ns]"
        time, valid_time = store.time.astype(unit), file.valid_time.astype(unit)
        place = np.searchsorted(time, valid_time).clip(max=len(time) - 1)
        self._place = np.where(time[place] == valid_time, place, -1)  # (n, k)
        self._channels = [store.channel_names.index(name) for name in file.channel_names]
        self.has_climatology = CLIMATOLOGY in store.statistics
        self._normalizer = Normalizer.from_store(
            store, "climatology" if self.has_climatology else "mean"
        )

    def known(self, member: int, span: slice) -> NDArray[np.int64]:
        """The lead times, as positions, at which the store has a state."""
        positions = np.arange(len(self.file.steps))[span]
        return positions[self._place[member, positions] >= 0]

    def states(self, member: int, positions: NDArray[np.int64]) -> Array:
        """True states (k, c, nlat, nlon)."""
        states = [self._state(int(t), member) for t in self._place[member, positions]]
        return np.stack(states)[:, self._channels]

    def reference(self, member: int, positions: NDArray[np.int64]) -> Array:
        """What anomalies are departures from, (k, c, nlat, nlon) or (k, c, 1, 1)."""
        valid_time = self.file.valid_time[member, positions]
        return self._normalizer.baseline(valid_time).numpy()[:, self._channels]

    def baseline(self, name: str, member: int, positions: NDArray[np.int64]) -> Array:
        """A baseline's states, (k, c, nlat, nlon)."""
        start = np.zeros(1, dtype=np.int64)
        initial = self.states(member, start)
        shape = (len(positions), *initial.shape[1:])
        reference = self.reference(member, positions)
        if name == CLIMATOLOGY:
            return np.broadcast_to(reference, shape)
        if not self.has_climatology:
            return np.broadcast_to(initial, shape)
        return initial - self.reference(member, start) + reference

    def complete(self, channel: int) -> bool:
        """Whether a channel of the forecast has values at all points."""
        mask = self.store.mask
        return mask is None or bool(mask[self._channels[channel]].all())

    def check_start(self, member: int) -> None:
        """Refuse a forecast that did not start from this store.

        Raises:
            ValueError: if its initial state is another one.
        """
        file, start = self.file, np.zeros(1, dtype=np.int64)
        if self._place[member, 0] < 0:
            raise ValueError(
                f"store {self.store.path} has no state at {file.member_label(member)}, where a "
                f"forecast of {file.path} starts; give the store that it started from"
            )
        here, there = file.states(member, slice(0, 1)), self.states(member, start)
        for name, x, y in zip(file.channel_names, here[0], there[0], strict=True):
            size = np.nanstd(y) or 1.0
            if file.steps[0] == 0 and np.nanmax(np.abs(x - y)) > _SAME_STATE * size:
                raise ValueError(
                    f"the forecast of {file.path} from {file.member_label(member)} did not start "
                    f"from store {self.store.path}: {name} differs at lead time 0; give the store "
                    "that it started from"
                )

    def _state(self, place: int, member: int) -> Array:
        if self.file.trajectory is None:
            return self.store.state(place).numpy()
        return self.store.state(int(self.file.trajectory[member]), place).numpy()
