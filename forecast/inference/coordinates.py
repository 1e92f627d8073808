"""Coordinates of a forecast file, by CF-1.8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.layout import (
    CONVENTIONS,
    INIT_TIME,
    LATITUDE,
    LEAD_TIME,
    LONGITUDE,
    MEMBER,
    TRAJECTORY,
    VALID_TIME,
)
from configs.time.calendar import DAY, SECOND, Times
from configs.time.step import TimeStep
from configs.variables import Variable
from forecast.inference.output.options import FileLayout
from forecast.inference.output.periods import Periods
from forecast.inference.writing.file_formats import FileFormat
from sphere_ops.grid import Grid

TRAJECTORY_NUMBER = "trajectory_number"
LAST_STEP = "last_step"
GRID_KIND = "grid_kind"
TIME_STEP = "time_step"
CHANNELS = "channels"


@dataclass(frozen=True)
class ForecastAxes:
    """Coordinates of the forecasts in a file.

    Attributes:
        grid: grid of the fields.
        channels: the forecast variables, in the order of the state's channels.
        time_step: interval of one model step, in the calendar of the times.
        init_time: start of each forecast, datetime64 (n,).
        steps: model steps that are kept, 0 (the initial state) included, increasing (k,).
        trajectory: number in the store of each forecast's trajectory (n,); None for a time series.
        derived: variables computed from the channels, which follow these in the file.
        member: numbers of the ensemble members (m,); None for single forecasts, whose file has no
            member dim.
        periods: periods whose statistics the file holds; None without any.
        snapshots: whether the file holds the states themselves, and not only their statistics.
        layout: names and dims of the file when it is complete.
    """

    grid: Grid
    channels: Sequence[Variable]
    time_step: TimeStep
    init_time: NDArray[np.datetime64]
    steps: NDArray[np.int64]
    trajectory: NDArray[np.int64] | None = None
    derived: Sequence[Variable] = ()
    member: NDArray[np.int64] | None = None
    periods: Periods | None = None
    snapshots: bool = True
    layout: FileLayout = "cf"

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All variables of the file: the channels, then those computed from them."""
        return (*self.channels, *self.derived)

    @property
    def forecast_dim(self) -> str:
        """Name of the first dim: `init_time`, or `trajectory`."""
        return INIT_TIME if self.trajectory is None else TRAJECTORY

    @property
    def n_members(self) -> int:
        """Number of members; 1 for single forecasts."""
        return 1 if self.member is None else len(self.member)

    @property
    def rows(self) -> int:
        """Number of forecasts with their members; row r is member r % m of forecast r // m."""
        return len(self.init_time) * self.n_members

    @property
    def forecast_dims(self) -> dict[str, int]:
        """Names and sizes of the dims before the lead time."""
        member = {} if self.member is None else {MEMBER: len(self.member)}
        return {self.forecast_dim: len(self.init_time)} | member

    @property
    def dims(self) -> dict[str, int]:
        """Names and sizes of the dims of a field, in their order."""
        names = (LEAD_TIME, LATITUDE, LONGITUDE)
        sizes = (len(self.steps), *self.grid.shape)
        return self.forecast_dims | dict(zip(names, sizes, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, k, nlat, nlon), or (n, m, k, nlat, nlon) with members."""
        return tuple(self.dims.values())

    @property
    def valid_time(self) -> NDArray[np.datetime64]:
        """`init_time` + `lead_time`, datetime64[ns] (n, k)."""
        found = np.empty((len(self.init_time), len(self.steps)), dtype="datetime64[ns]")
        for k, step in enumerate(self.steps.tolist()):  # a list of arrays needs much more memory
            found[:, k] = self.time_step.advance(self.init_time, step)
        return found

    def lead_time(self) -> tuple[NDArray[np.int32], str]:
        """Time since the start, and its unit: "hours" where they are whole, else "seconds"."""
        if self.time_step.months is not None:
            return (self.steps * self.time_step.months).astype(np.int32), "months"
        assert self.time_step.seconds is not None
        seconds = self.steps * self.time_step.seconds
        if (seconds % 3600 == 0).all():
            return (seconds // 3600).astype(np.int32), "hours"
        return seconds.astype(np.int32), "seconds"


def define(
    file: FileFormat, axes: ForecastAxes, attributes: Mapping[str, str], held: int, rows: int
) -> None:
    """Define everything in a file, and write its coordinates.

    Args:
        file: Forecast file that is being written.
        axes: what is going to be in it.
        attributes: of the file.
        held: lead times that are written at once.
        rows: rows that are written at once.
    """
    dim = axes.forecast_dim
    calendar = axes.time_step.calendar
    file.attributes(
        {"Conventions": CONVENTIONS, **attributes}
        | {GRID_KIND: axes.grid.kind, TIME_STEP: axes.time_step.label}
        | {CHANNELS: " ".join(v.name for v in axes.channels)}  # zarr keeps no order
    )
    file.dims({k: v for k, v in axes.dims.items() if axes.snapshots or k != LEAD_TIME})
    init_time, since = encode_times(axes.init_time, axes)
    start = {
        "standard_name": "forecast_reference_time",
        "long_name": "Start of the forecast",
        "units": since,
        "calendar": calendar.name,
    }
    # Only a coordinate variable may be an axis, and of trajectories it is not one.
    axis = {"axis": "T"} if axes.trajectory is None else {}
    file.coordinate(INIT_TIME, (dim,), init_time, start | axis)
    if axes.trajectory is not None:
        # Not named as its dim: cdo would take the number for the time axis.
        number = {"long_name": "Number of the trajectory in the store", "units": "1"}
        trajectory = axes.trajectory.astype(np.int32)
        file.coordinate(TRAJECTORY_NUMBER, (TRAJECTORY,), trajectory, number)
    if axes.member is not None:
        member = {
            "standard_name": "realization",
            "long_name": "Number of the ensemble member",
            "units": "1",
        }
        file.coordinate(MEMBER, (MEMBER,), axes.member.astype(np.int32), member)
    for name, values, units, letter in (
        (LATITUDE, axes.grid.latitude, "degrees_north", "Y"),
        (LONGITUDE, axes.grid.longitude, "degrees_east", "X"),
    ):
        named = {"standard_name": name, "long_name": name.capitalize()}
        file.coordinate(name, (name,), values.numpy(), {**named, "units": units, "axis": letter})
    if axes.snapshots:
        _define_snapshots(file, axes, held, rows)


def _define_snapshots(file: FileFormat, axes: ForecastAxes, held: int, rows: int) -> None:
    """Define the states at the lead times, and write the coordinates of these; see `define`."""
    dim = axes.forecast_dim
    leads, lead_units = axes.lead_time()
    # xarray turns the lead times into timedelta64 where it finds this attribute.
    decoded = {} if lead_units == "months" else {"dtype": "timedelta64[ns]"}
    lead_time = {
        "standard_name": "forecast_period",
        "long_name": "Time since the start of the forecast",
        "units": lead_units,
    }
    file.coordinate(LEAD_TIME, (LEAD_TIME,), leads, lead_time | decoded)
    valid_time, since = encode_times(axes.valid_time, axes)
    valid = {
        "standard_name": "time",
        "long_name": "Time for which the forecast is valid",
        "units": since,
        "calendar": axes.time_step.calendar.name,
    }
    file.coordinate(VALID_TIME, (dim, LEAD_TIME), valid_time, valid)
    auxiliary = [VALID_TIME]
    if axes.trajectory is not None:
        auxiliary = [INIT_TIME, VALID_TIME, TRAJECTORY_NUMBER]
    for variable in axes.variables:
        named = {"standard_name": variable.standard_name} if variable.standard_name else {}
        meaning = {
            "long_name": variable.long_name,
            "units": variable.units,
            "coordinates": " ".join(auxiliary),
        }
        file.field(variable.name, tuple(axes.dims), (held, rows), named | meaning)


def define_last_step(file: FileFormat, axes: ForecastAxes, ended: Mapping[int, int]) -> None:
    """Write a variable that a complete forecast does not have: the last step of each.

    Args:
        file: Forecast file that is being written.
        axes: what is in it.
        ended: last model steps of those that ended early, by row.
    """
    if not ended:
        return
    last = np.full(axes.rows, axes.steps[-1], dtype=np.int32)
    for row, step in ended.items():
        last[row] = step
    meaning = {
        "long_name": "Last model step with finite values; later ones are missing",
        "units": "1",
    }
    dims = axes.forecast_dims
    file.coordinate(LAST_STEP, tuple(dims), last.reshape(tuple(dims.values())), meaning)


def encode_times(times: Times, axes: ForecastAxes) -> tuple[NDArray[np.float64], str]:
    """Return whole numbers since the day of the first forecast, and their CF units.

    Args:
        times: datetime64 of any shape, in the calendar of the forecasts.
        axes: coordinates of the forecasts.
    """
    calendar, first = axes.time_step.calendar, np.min(axes.init_time)
    midnight = calendar.elapsed(first) // DAY * DAY
    since = f"since {calendar.label(first, 'D')} 00:00:00"
    seconds = (calendar.elapsed(times) - midnight) / SECOND
    if (seconds % 3600 == 0).all():
        return seconds / 3600, f"hours {since}"
    return seconds, f"seconds {since}"
