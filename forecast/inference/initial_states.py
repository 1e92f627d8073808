"""Initial states of forecasts, with values wherever the model needs them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.initial_times import find_initial_times
from forecast.inference.mask_match import match_masks
from forecast.model.forecaster import Forecaster
from forecast.model.points.fill import FillMethod
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.parallel.fields import own_shape
from sphere_ops.parallel.mesh import current


class InitialStates:
    """Initial states of forecasts, read from a store under the mask of a model.

    Attributes:
        store: store with the states.
        starts: arguments `index` and `step` of `Store.state` of each initial state.
        time: valid times of the initial states, datetime64[ns] (n,).
        valid: points at which the model has values, bool (c, nlat, nlon), in a mesh own rows; None
            if it has them everywhere.
        moving_mask: channels that the states may lack at points inside the mask that change.
        comment: description of the points that were filled, for the forecast file; empty if the
            store has all that the model needs.
    """

    def __init__(
        self,
        store: Store,
        forecaster: Forecaster | ResamplingForecaster,
        split: str = "test",
        init_times: Sequence[str] | None = None,
        *,
        fill: FillMethod | None = None,
        n_history: int | None = None,
        n_earlier: int = 0,
    ) -> None:
        """Find the states, and compare the masks of model and store.

        Args:
            store: store with the initial states, on the grid of the forecaster.
            forecaster: model, whose channels the store has.
            split: split that is forecast from; see `find_initial_times`.
            init_times: valid times to forecast from instead.
            fill: method to fill points that the model needs and the store does not have.
            n_history: length of the history; if not given, that of the forecaster.
            n_earlier: states that have to be before the initial ones and their history.

        Raises:
            ValueError: if a time is not in the store or has no history there, or if points that
                the model needs are missing and are not to be filled, or cannot be.
        """
        self.store = store
        self.n_history = forecaster.n_history if n_history is None else n_history
        self._time_step = forecaster.time_step
        self.starts = find_initial_times(
            store,
            split,
            init_times,
            n_history=self.n_history,
            n_earlier=n_earlier,
            time_step=self._time_step,
        )
        times = [store.valid_time(*start) for start in self.starts]
        self.time = np.array(times, dtype="datetime64[ns]")
        names, mask = forecaster.channel_names, forecaster.mask
        self._channels = [store.channel_names.index(name) for name in names]
        self.valid = None if mask is None else mask.cpu()
        self.moving_mask = tuple(n for n in store.moving_mask if n in forecaster.moving_mask)
        self._moving = torch.tensor([name in self.moving_mask for name in names])[:, None, None]
        self._fill, filled = match_masks(store, names, self.valid, fill)
        self.comment = ""
        if filled:
            self.comment = (
                f"Values of initial states that the store {store.path.name} lacks are filled "
                f"{filled}"
            )

    def only(self, chosen: NDArray[np.bool_]) -> InitialStates:
        """Return some of the initial states."""
        some = copy(self)
        some.starts = [start for start, kept in zip(self.starts, chosen, strict=True) if kept]
        some.time = self.time[chosen]
        return some

    def __len__(self) -> int:
        """Number of initial states."""
        return len(self.starts)

    def read(self, indices: Sequence[int], n_earlier: Sequence[int] | None = None) -> State:
        """Return some of the states, or states before them, as one; NaN outside the mask.

        Values that are missing under both masks stay NaN, as those of channels with a moving mask.

        Args:
            indices: positions of the states among all.
            n_earlier: number of time steps before each of which the state is read, which the store
                has; 0 if not given.
        """
        n, store = self.n_history, self.store
        time = self.time[list(indices)]
        if n_earlier is not None:
            time = self._time_step.advance(time, -np.asarray(n_earlier, dtype=np.int64))
        states = [
            self._series(self.starts[i][0], last)[:, self._channels]
            for i, last in zip(indices, time, strict=True)
        ]
        series = (
            torch.stack(states)
            if states
            else torch.empty(0, n + 1, len(self._channels), *own_shape(store.grid))
        )
        if self._fill is not None:
            series = self._fill(series)
        if self.valid is not None:
            series = series.where(self.valid, torch.nan)
        return State.from_series(series, time)

    def _series(self, index: int, last: np.datetime64) -> Tensor:
        """Read the state of a time and its history, (n_history + 1, c, nlat, nlon)."""
        store = self.store
        time = self._time_step.advance(np.array(last), np.arange(-self.n_history, 1))
        places = store.find(time).tolist()
        if store.has_trajectories:
            return torch.stack([store.state(index, place) for place in places])
        return torch.stack([store.state(place) for place in places])

    def for_check(self, state: State) -> Tensor:
        """Return fields that are finite inside the mask if no value is missing that must be there.

        A channel with a moving mask may lack some of its points, but not all of them.

        Args:
            state: some of the states, with their history.

        Returns:
            Fields (b, c, nlat, nlon).
        """
        series = torch.stack(state.series)
        if self.moving_mask and len(state.fields):
            present = ~series.isnan()
            n_points = current().sum_rows(present.sum((-2, -1), keepdim=True).double())
            may_lack = self._moving.to(series.device) & (n_points > 0)
            series = series.where(present | ~may_lack, 0.0)
        return series.sum(0)

    def describe(self, index: int) -> str:
        """Return an initial state in words, for reports."""
        return self.store.describe(*self.starts[index])
