"""The read side of the forecast file."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.layout import (
    INIT_TIME,
    LATITUDE,
    LEAD_TIME,
    LONGITUDE,
    MEMBER,
    MOVING_MASK,
    PERIOD,
    TRAJECTORY,
    VALID_TIME,
)
from configs.time.calendar import GREGORIAN
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.chunk_files import ChunkFiles
from forecast.inference.coordinates import CHANNELS, LAST_STEP, TIME_STEP, TRAJECTORY_NUMBER
from forecast.inference.reading.fit import check_fits
from forecast.inference.reading.lead_times import lead_label, lead_position, steps_of, time_label
from forecast.inference.reading.open_file import open_output
from sphere_ops.grid import Grid


class ForecastFile:
    """A forecast file, opened; fields are read when they are asked for.

    Attributes:
        path: where it is.
        dataset: the file as xarray opens it.
        grid: grid of the fields.
        channel_names: short names of the forecast variables.
        derived_names: short names of the variables that were computed from these, such as winds.
        time_step: interval of one model step, in the calendar of the times.
        forecast_dim: `init_time`, or `trajectory`.
        init_time: start of each forecast, datetime64[ns] (n,).
        steps: model step of each lead time, int (k,).
        valid_time: datetime64[ns] (n, k).
        trajectory: number in the store of each forecast's trajectory (n,), None for a series.
        moving: whether each channel lacks points inside its mask in initial states, bool (c,).
        member: numbers of the ensemble members (m,), None for single forecasts.
        last_step: last model step of each forecast with finite values in all members (n,).
        member_last_step: last model step of each member with finite values (n, m).
    """

    def __init__(self, path: str | Path) -> None:
        """Open a file that the rollout wrote.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no forecast file.
        """
        self.path = Path(path)
        self.dataset = open_output(self.path, "forecast", "forecast rollout")
        names = {*self.dataset.variables, *self.dataset.attrs}
        missing = sorted({LEAD_TIME, INIT_TIME, VALID_TIME, TIME_STEP, CHANNELS} - names)
        if PERIOD in self.dataset.dims and LEAD_TIME in missing:
            raise ValueError(
                f"{self.path} holds statistics of periods alone; make a forecast with its states, "
                "without --no-snapshots"
            )
        if "prediction_timedelta" in names:
            raise ValueError(
                f"{self.path} is in the layout of WeatherBench 2; make the forecast again without "
                "--layout weatherbench2"
            )
        if missing:
            raise ValueError(
                f"{self.path} is not a forecast file (no {', '.join(missing)}); make one with "
                "`forecast rollout`"
            )
        try:
            self._read_coordinates()
        except Exception as error:  # the libraries raise many kinds for a damaged file
            raise self.damaged(f"its coordinates make no sense ({error})") from error

    def _read_coordinates(self) -> None:
        """Set the attributes that say what the fields are."""
        data = self.dataset
        self.forecast_dim = TRAJECTORY if TRAJECTORY in data.dims else INIT_TIME
        self.grid = Grid.from_coordinates(data.latitude.values, data.longitude.values)
        self.channel_names = tuple(str(data.attrs[CHANNELS]).split())
        absent = [name for name in self.channel_names if name not in data.variables]
        if absent:
            raise ValueError(f"there is no {', '.join(absent)}")
        others = (name for name in map(str, data.data_vars) if name not in self.channel_names)
        space = (LEAD_TIME, LATITUDE, LONGITUDE)
        self.derived_names = tuple(name for name in others if data[name].dims[-3:] == space)
        calendar = data[INIT_TIME].encoding.get("calendar", GREGORIAN.name)
        self.time_step = TimeStep.parse(data.attrs[TIME_STEP], calendar)
        self.init_time = self.time_step.calendar.from_dates(data[INIT_TIME].values)
        self.valid_time = self.time_step.calendar.from_dates(data[VALID_TIME].values)
        self.steps = steps_of(data[LEAD_TIME], self.time_step)
        if (np.diff(self.steps) <= 0).any():
            raise ValueError("lead times do not increase")
        self.trajectory: NDArray[np.int64] | None = None
        if TRAJECTORY_NUMBER in data.variables:
            self.trajectory = data[TRAJECTORY_NUMBER].values.astype(np.int64)
        moving = str(data.attrs.get(MOVING_MASK, "")).split()
        self.moving = np.array([name in moving for name in self.channel_names])
        self.member: NDArray[np.int64] | None = None
        if MEMBER in data.dims:
            self.member = data[MEMBER].values.astype(np.int64)
        shape = len(self.init_time), self.n_members
        self.member_last_step = np.full(shape, self.steps[-1])
        if LAST_STEP in data.variables:
            self.member_last_step = data[LAST_STEP].values.astype(np.int64).reshape(shape)
        self.last_step = self.member_last_step.min(1)

    @property
    def n_members(self) -> int:
        """Number of ensemble members; 1 for single forecasts."""
        return 1 if self.member is None else len(self.member)

    def states(
        self, forecast_index: int, positions: slice, member: int | None = None
    ) -> NDArray[np.floating[Any]]:
        """Fields of one forecast at several lead times, (k, c, nlat, nlon).

        Args:
            forecast_index: index of the forecast.
            positions: indices of the lead times.
            member: index of the member; None for the mean over the members, which is the field
                itself of a single forecast.

        Raises:
            ValueError: if the file is damaged.
        """
        names = self.channel_names
        n_lead_times = len(self.steps[positions])
        dtype = np.result_type(*(self.dataset.variables[name].dtype for name in names))
        fields = np.empty((n_lead_times, len(names), *self.grid.shape), dtype=dtype)
        for c, name in enumerate(names):  # into one array: a list of fields needs as much again
            fields[:, c] = self._read(name, forecast_index, positions, member)
        return fields

    def ensemble(self, forecast_index: int, positions: slice) -> NDArray[np.floating[Any]]:
        """Fields of all members at several lead times, (m, k, c, nlat, nlon).

        Raises:
            ValueError: if the file is damaged.
        """
        members = range(self.n_members)
        return np.stack([self.states(forecast_index, positions, member) for member in members])

    def members(
        self, name: str, forecast_index: int, positions: slice
    ) -> NDArray[np.floating[Any]]:
        """Fields of one variable of all members at several lead times, (m, k, nlat, nlon).

        Raises:
            ValueError: if the file has no such variable, or is damaged.
        """
        name = self.check_variable(name)
        if self.member is None:
            return self._read_at(name, forecast_index, (forecast_index, positions))[None]
        return self._read_at(name, forecast_index, (forecast_index, slice(None), positions))

    def field(
        self, name: str, forecast_index: int, position: int | slice, member: int | None = None
    ) -> NDArray[np.floating[Any]]:
        """One field, (nlat, nlon), or those at several lead times, (k, nlat, nlon); see `states`.

        Raises:
            ValueError: if the file has no such variable, or is damaged.
        """
        return self._read(self.check_variable(name), forecast_index, position, member)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Mask of the model, True where the first initial state has values, (c, nlat, nlon).

        Of channels with a moving mask it is True where the first predicted state has values. It is
        True everywhere if the file does not begin with the initial state.

        Raises:
            ValueError: if the file is damaged.
        """
        finite = np.isfinite(self.states(0, slice(0, 1))[0])
        if self.steps[0] > 0:
            return np.ones_like(finite)
        for name, has_values in zip(self.channel_names, finite.any((-2, -1)), strict=True):
            if not has_values:
                raise self.missing(name, 0, 0)
        predicted = self.steps[1:] <= self.last_step[:, None]
        for c in np.flatnonzero(self.moving):
            forecast_index, position = np.unravel_index(predicted.argmax(), predicted.shape)
            finite[c] = True
            if predicted.any():
                name = self.channel_names[c]
                finite[c] = np.isfinite(self._read(name, int(forecast_index), int(position) + 1))
        return finite

    def check_initial(self, state: NDArray[np.floating[Any]], forecast_index: int) -> None:
        """Refuse an initial state (c, nlat, nlon) that is missing elsewhere than the first one.

        Raises:
            ValueError: if a channel of either lacks points of the other. A channel with a moving
                mask may lack points.
        """
        finite = np.isfinite(state)
        lacks = self.mask & ~finite & ~self.moving[:, None, None]
        for lacking, points in ((forecast_index, lacks), (0, finite & ~self.mask)):
            wrong = points.any((-2, -1))
            if wrong.any() and self.steps[0] == 0:
                raise self.missing(self.channel_names[int(np.argmax(wrong))], lacking, 0)

    def check_complete(
        self, complete: NDArray[np.bool_], forecast_index: int, position: int
    ) -> None:
        """Refuse a state that is missing where it should not be.

        Args:
            complete: whether each channel has values where the model has some, (c,).
            forecast_index: which forecast.
            position: lead time; missing values are right once the forecast has ended.

        Raises:
            ValueError: if a channel is not complete.
        """
        if not complete.all() and self.steps[position] <= self.last_step[forecast_index]:
            raise self.missing(
                self.channel_names[int(np.argmin(complete))], forecast_index, position
            )

    def missing(self, name: str, forecast_index: int, position: int) -> ValueError:
        """The error for values that are missing where the model has some."""
        return self.damaged(
            f"{name} of the forecast from {self.forecast_label(forecast_index)} has missing values "
            f"at {self.lead_label(position)}, although it had not ended"
        )

    def damaged(self, reason: str) -> ValueError:
        """The error for a damaged file."""
        return ValueError(
            f"forecast {self.path} is damaged: {reason}; copy it again, or make it again with "
            "`forecast rollout`"
        )

    def _read(
        self, name: str, forecast_index: int, at: int | slice, member: int | None = None
    ) -> NDArray[np.floating[Any]]:
        if self.member is None:
            return self._read_at(name, forecast_index, (forecast_index, at))
        if member is not None:
            return self._read_at(name, forecast_index, (forecast_index, member, at))
        # One by one, so that memory does not grow with the number of members.
        total = self._read_at(name, forecast_index, (forecast_index, 0, at)).astype(np.float64)
        for i in range(1, self.n_members):
            total += self._read_at(name, forecast_index, (forecast_index, i, at))
        mean: NDArray[np.float32] = (total / self.n_members).astype(np.float32)
        return mean

    def _read_at(
        self, name: str, forecast_index: int, index: tuple[int | slice, ...]
    ) -> NDArray[np.floating[Any]]:
        try:
            chunks = self._chunk_files.get(name)
            if chunks is not None and not any(isinstance(i, slice) and i.step for i in index):
                return chunks.read(index)
            return self.dataset.variables[name][index].values
        except Exception as error:  # the libraries raise many kinds for a damaged file
            label = self.forecast_label(forecast_index)
            reason = f"{name} of the forecast from {label} cannot be read"
            raise self.damaged(f"{reason} ({error or type(error).__name__})") from error

    @cached_property
    def _chunk_files(self) -> dict[str, ChunkFiles]:
        """Variables that are read without the library, by name."""
        names = (*self.channel_names, *self.derived_names) if self.path.is_dir() else ()
        found = {name: ChunkFiles.of(self.path / name) for name in names}
        return {name: chunks for name, chunks in found.items() if chunks is not None}

    def check_variable(self, name: str) -> str:
        """The name, if the file has such a variable.

        Raises:
            ValueError: if not; those that are there are named.
        """
        known = (*self.channel_names, *self.derived_names)
        if name in known:
            return name
        near = get_close_matches(name, known, n=1)
        raise ValueError(
            f"{self.path} has no variable {name!r}; it has {', '.join(known)}"
            + (f" (nearest: {near[0]})" if near else "")
        )

    def lead_label(self, position: int) -> str:
        """A lead time in words: "6 h", "3 d", "12 months"."""
        return lead_label(self.time_step, int(self.steps[position]))

    def forecast_label(self, forecast_index: int) -> str:
        """A forecast in words: its start, and its trajectory if there are several."""
        start = time_label(self.init_time[forecast_index], self.time_step)
        return start if self.trajectory is None else f"trajectory {self.trajectory[forecast_index]}"

    def find_lead(self, lead: str | int | None) -> int:
        """The index of a lead time.

        Args:
            lead: "6h", "2d", "3mo", or a number in the unit of the file; None for the last.

        Raises:
            ValueError: if the file does not have it.
        """
        if lead is None:
            return len(self.steps) - 1
        return lead_position(lead, self.steps, self.time_step, self.path)

    def find_forecast(self, init: str | int | None) -> int:
        """The index of a forecast.

        Args:
            init: a start time (or part of one: "2001-03"), a trajectory's number, or for a series
                the index of the forecast; None for the first.

        Raises:
            ValueError: if the file does not have it.
        """
        if init is None:
            return 0
        text = str(init).strip()
        if self.trajectory is not None:
            known = [str(t) for t in self.trajectory]
        else:
            known = [self.time_step.calendar.label(t) for t in self.init_time]
        if text in known:
            return known.index(text)
        if self.trajectory is None and text.isdigit() and int(text) < len(known):
            return int(text)
        part = [i for i, name in enumerate(known) if len(text) > 3 and name.startswith(text)]
        if self.trajectory is None and part:
            return part[0]
        what = "init_time" if self.trajectory is None else "trajectory"
        raise ValueError(
            f"{self.path} has no forecast with {what} {text!r}; it has {len(known)}, from "
            f"{known[0]} to {known[-1]}"
        )

    def check_fits(self, store: Store, *, started_there: bool = True) -> None:
        """Refuse a store that does not hold the truth of this forecast.

        Args:
            store: store.
            started_there: True if the forecast started from the store, which then has its initial
                times. A store with other times may have a longer step.

        Raises:
            ValueError: naming what differs.
        """
        check_fits(self, store, started_there=started_there)
