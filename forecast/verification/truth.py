"""Truth and references of a store at the valid times of a forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import DEFAULT, Conventions
from forecast.verification.references import References
from forecast.verification.regions import LAND_NAMES, Region
from forecast.verification.vectors import Vectors
from sphere_ops.memory import available_memory

_KEPT_BYTES = 256 * 2**20
_KEPT_SHARE = 0.25
"""Largest size of the true states that are kept, and their largest share of the memory."""

_BYTES_OF_VALUE = 13
"""Bytes of a value of a true state: the field, its anomaly in float64, and a mask."""

_SAME_STATE = 1e-3  # relative; errors by float32 and by packing in files are far below

Array = NDArray[np.floating[Any]]


class Truth:
    """Truth and references at the valid times of a forecast file.

    Attributes:
        file: Forecast file.
        store: Store with the truth.
        references: References of anomalies and norms; those of the store unless given.
        conventions: Conventions of the scores.
        origin: Store that the forecast started from; None if it is not known.
    """

    def __init__(
        self,
        file: ForecastFile,
        store: Store,
        references: References | None = None,
        conventions: Conventions = DEFAULT,
        *,
        elsewhere: bool = False,
        origin: Store | None = None,
        points: NDArray[np.bool_] | None = None,
    ) -> None:
        """Find the valid times in the store.

        Args:
            file: Forecast file.
            store: Store with the truth.
            references: References; those of the store if None.
            conventions: Conventions of the scores.
            elsewhere: True if the forecast need not have started from the store.
            origin: Store that the forecast started from, if that is another one.
            points: Mask of the only points to score, (c, nlat, nlon); all if None.

        Raises:
            ValueError: If the store has no valid time of the forecast.
        """
        self._points: NDArray[np.bool_] | bool = True if points is None else points
        self.file, self.store, self.conventions = file, store, conventions
        self.origin = origin if elsewhere else store
        self.references = references or References.of_store(store, file)
        self._place = store.find(file.valid_time)  # (n, k)
        self._start = store.find(file.init_time)
        self._channels = [store.channel_names.index(name) for name in file.channel_names]
        if elsewhere and (self._place < 0).all():
            raise ValueError(
                f"truth {store.path} has no valid time of {file.path}: it has {_span(store.time)}, "
                f"the forecast {_span(file.valid_time)}; give a truth of these times"
            )

    @property
    def has_starts(self) -> bool:
        """True if the store has a state at all initial times."""
        return bool((self._start >= 0).all())

    def start(self, forecast_index: int) -> tuple[int, int]:
        """Return the arguments of `state` for the initial time of a forecast."""
        return self._trajectory(forecast_index), int(self._start[forecast_index])

    def known(self, forecast_index: int, span: slice) -> NDArray[np.int64]:
        """Return the positions of the lead times at which the store has a state."""
        positions = np.arange(len(self.file.steps))[span]
        return positions[self._place[forecast_index, positions] >= 0]

    def states(self, forecast_index: int, positions: NDArray[np.int64]) -> Array:
        """Read true states (k, c, nlat, nlon)."""
        return np.stack([self.state(*self.key(forecast_index, int(p))) for p in positions])

    def key(self, forecast_index: int, position: int) -> tuple[int, int]:
        """Return the arguments of `state`; forecasts that overlap have the same ones."""
        return self._trajectory(forecast_index), int(self._place[forecast_index, position])

    def _trajectory(self, forecast_index: int) -> int:
        trajectory = self.file.trajectory
        return 0 if trajectory is None else int(trajectory[forecast_index])

    def state(self, trajectory: int, place: int) -> Array:
        """Return the true state (c, nlat, nlon) at a time of the store, given by its index."""
        found: Array = self._recent(trajectory, place)
        return found

    def read_ahead(self, forecast_index: int, positions: NDArray[np.int64]) -> None:
        """Read the states that a forecast is compared with, if `state` can keep them."""
        if self.n_kept < self.n_reused:
            return
        if self._start[forecast_index] >= 0:
            self.state(*self.start(forecast_index))
        for position in positions:
            self.state(*self.key(forecast_index, int(position)))

    @cached_property
    def n_kept(self) -> int:
        """Number of recent states to keep: those that are used again, if they are not too large."""
        bytes_of_state = _BYTES_OF_VALUE * len(self._channels) * np.prod(self.file.grid.shape)
        most = min(_KEPT_BYTES, _KEPT_SHARE * available_memory()) // bytes_of_state
        return max(2, min(int(most), self.n_reused))

    @cached_property
    def n_reused(self) -> int:
        """Number of different states from one use of a state to the next, at most.

        Forecasts are taken in their order, and a state at the start is used at all lead times.
        """
        places = np.column_stack([self._start, self._place])
        n, k = places.shape
        trajectory = np.zeros(n) if self.file.trajectory is None else self.file.trajectory
        index = np.repeat(np.arange(n), k)
        key = np.column_stack([np.repeat(trajectory, k), places.ravel()])
        order = np.lexsort((index, key[:, 1], key[:, 0]))
        same = (key[order[1:]] == key[order[:-1]]).all(1) & (key[order[1:], 1] >= 0)
        apart = np.diff(index[order])[same].max(initial=1)  # in forecasts
        return int(max(1, apart)) * k + 1

    @cached_property
    def _recent(self) -> Callable[[int, int], Array]:
        """Function `_read` with a cache, which also has room for what is read ahead."""
        ahead = len(self.file.steps) if self.n_kept >= self.n_reused else 0
        keep: Callable[[Any], Any] = lru_cache(self.n_kept + ahead)
        found: Callable[[int, int], Array] = keep(self._read)
        return found

    def _read(self, trajectory: int, place: int) -> Array:
        where = (trajectory, place) if self.store.has_trajectories else (place,)
        return self.store.state(*where).numpy()[self._channels]

    def reference(self, forecast_index: int, positions: NDArray[np.int64]) -> Array:
        """Return the climatology, else the mean: (k, c, nlat, nlon) or (1, c, 1, 1).

        Raises:
            ValueError: If there is neither although channels have a mask.
        """
        found = self.references.of_norms(self.file.valid_time[forecast_index, positions])
        if found is None and self.store.mask is not None:
            raise ValueError(
                f"{self.references.name} has no training split and therefore no mean, which fields "
                "with missing points need; ingest the files again with data.splits"
            )
        zero = np.zeros((1, len(self._channels), 1, 1), dtype=np.float32)
        return zero if found is None else found

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Mask of the points with values in the store, (c, nlat, nlon)."""
        if self.store.mask is None:
            return np.ones((len(self._channels), *self.file.grid.shape), dtype=bool)
        return self.store.mask.numpy()[self._channels]

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """True for channels with a moving mask in the store or in the initial states, (c,)."""
        in_store = [name in self.store.moving_mask for name in self.file.channel_names]
        return np.array(in_store) | self.file.moving

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Mask of the points with values in model, store and reference, (c, nlat, nlon).

        Of a channel with a moving mask these are the points that have values at some times.

        Raises:
            ValueError: If a channel has no such point.
        """
        valid = self.file.mask & self.mask & self.references.valid(self.moving) & self._points
        for name, of_channel in zip(self.file.channel_names, valid, strict=True):
            if not of_channel.any():
                raise ValueError(
                    f"{name} has no point that {self.file.path}, store {self.store.path} and the "
                    f"climatology of {self.references.name} have in common; give the store that "
                    "the forecast started from"
                )
        return valid

    @cached_property
    def vectors(self) -> Vectors:
        """Vectors whose components are channels of the file with the same points."""
        data, names = self.file.dataset, self.file.channel_names
        channels = {name: str(data[name].attrs.get("long_name", name)) for name in names}
        return Vectors.among(channels, self.valid, self.moving)

    def region_weights(self, regions: Sequence[Region]) -> Array:
        """Return the area weight of each point times its part of each region, (r, nlat, nlon).

        Raises:
            ValueError: If a region has no point of the grid, or no channel has a value in it.
        """
        static = (self.origin.static if self.origin is not None else {}) | self.store.static
        land = next((static[name] for name in LAND_NAMES if name in static), None)
        of_grid = self.conventions.area_weights(self.file.grid)
        weights = []
        for region in regions:
            part = region.fraction(
                self.file.grid,
                None if land is None else land.numpy(),
                keep_fractions=self.conventions.fractions,
            )
            if not (self.valid & (part > 0)).any():
                raise ValueError(
                    f"region {region.name} has no point at which {self.file.path} and its truth "
                    "have values; leave it out"
                )
            weights.append(of_grid * part)
        return np.stack(weights)

    def complete(self, channel: int) -> bool:
        """Return True if a channel of the store has values at all points and times."""
        return bool(self.mask[channel].all() and not self.moving[channel])

    def check_start(
        self, forecast_index: int, initial: Array | None = None, *, may_differ: bool = False
    ) -> None:
        """Raise an error if a forecast did not start from the store that it should have.

        Args:
            forecast_index: Index of the forecast.
            initial: First state of the forecast (c, nlat, nlon); read from the file if None.
            may_differ: True to check only that the store has the initial time.

        Raises:
            ValueError: If `origin` lacks the initial time, or has another state there.
        """
        file, origin = self.file, self.origin
        if origin is None:
            return
        place = int(origin.find(file.init_time[[forecast_index]])[0])
        if place < 0:
            raise ValueError(
                f"store {origin.path} has no state at {file.forecast_label(forecast_index)}, "
                f"the start of a forecast of {file.path}; give the store that it started from"
            )
        if may_differ or file.steps[0] > 0:
            return
        here = file.states(forecast_index, slice(0, 1))[0] if initial is None else initial
        there = self._of_origin(self._trajectory(forecast_index), place)
        for name, x, y in zip(file.channel_names, here, there, strict=True):
            both = np.isfinite(x) & np.isfinite(y)  # model and store may have different masks
            size = y[both].std() or 1.0 if both.any() else 1.0
            if (np.abs(x - y) > _SAME_STATE * size)[both].any():
                raise ValueError(
                    f"the forecast of {file.path} from {file.forecast_label(forecast_index)} did "
                    f"not start from store {origin.path}: {name} differs at lead time 0; give "
                    "the store that it started from"
                )

    def _of_origin(self, trajectory: int, place: int) -> Array:
        """Return a state (c, nlat, nlon) of the store that the forecast started from."""
        origin = self.origin
        assert origin is not None
        if origin is self.store:
            return self.state(trajectory, place)
        channels = [origin.channel_names.index(name) for name in self.file.channel_names]
        where = (trajectory, place) if origin.has_trajectories else (place,)
        found: Array = origin.state(*where).numpy()[channels]
        return found


def _span(time: NDArray[np.datetime64]) -> str:
    first, last = (str(np.datetime_as_string(t, "auto")) for t in (time.min(), time.max()))
    return f"{first} to {last}"
