"""The forecast file, written while the rollout runs: CF-1.8 netCDF4 or zarr, by the suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from configs.layout import (
    CONVENTIONS,
    INIT_TIME,
    LATITUDE,
    LEAD_TIME,
    LONGITUDE,
    TRAJECTORY,
    VALID_TIME,
)
from configs.timestep import TimeStep
from configs.variables import Variable
from forecast.output import cannot_write, check_output, remove
from forecast.sinks import NetCDFSink, Sink, ZarrSink
from sphere_ops.grid import Grid

TRAJECTORY_NUMBER = "trajectory_number"
LAST_STEP = "last_step"
GRID_KIND = "grid_kind"
TIME_STEP = "time_step"
CHANNELS = "channels"
SUFFIXES = (".nc", ".zarr")

_BUFFER_BYTES = 32 * 2**20
_CALENDAR = "proleptic_gregorian"


@dataclass(frozen=True)
class ForecastAxes:
    """What the rows of a forecast file stand for.

    Attributes:
        grid: grid of the fields.
        channels: the forecast variables, in the order of the state's channels.
        time_step: interval of one model step.
        init_time: start of each forecast, datetime64 (n,).
        steps: model steps that are kept, 0 (the initial state) included, increasing (k,).
        trajectory: number in the store of each forecast's trajectory (n,); None for a time series.
    """

    grid: Grid
    channels: Sequence[Variable]
    time_step: TimeStep
    init_time: NDArray[np.datetime64]
    steps: NDArray[np.int64]
    trajectory: NDArray[np.int64] | None = None

    @property
    def member_dim(self) -> str:
        """Name of the first dim: `init_time`, or `trajectory`."""
        return INIT_TIME if self.trajectory is None else TRAJECTORY

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, k, nlat, nlon)."""
        return len(self.init_time), len(self.steps), *self.grid.shape

    @property
    def valid_time(self) -> NDArray[np.datetime64]:
        """`init_time` + `lead_time`, datetime64[ns] (n, k)."""
        return np.stack([self.time_step.advance(self.init_time, int(k)) for k in self.steps], 1)

    def lead_time(self) -> tuple[NDArray[np.int32], str]:
        """Time since the start, and its unit: "hours" where they are whole, else "seconds"."""
        if self.time_step.months is not None:
            return (self.steps * self.time_step.months).astype(np.int32), "months"
        assert self.time_step.seconds is not None
        seconds = self.steps * self.time_step.seconds
        if (seconds % 3600 == 0).all():
            return (seconds // 3600).astype(np.int32), "hours"
        return seconds.astype(np.int32), "seconds"


class ForecastWriter:
    """Writes states as they come, beside the output, which appears when all is written.

    A few steps are held back so that pieces of a reasonable size reach the disk, never more than
    32 MiB. What is never written reads as missing. Use it as a context manager:
    an exception inside leaves nothing behind.
    """

    def __init__(
        self,
        path: str | Path,
        axes: ForecastAxes,
        attributes: Mapping[str, str],
        *,
        batch_size: int = 8,
    ) -> None:
        """Create the file with all its coordinates.

        Args:
            path: output; `.nc` is netCDF4, `.zarr` is zarr v3.
            axes: what is going to be written.
            attributes: of the file: title, source, history.
            batch_size: largest number of forecasts that one `write` brings.

        Raises:
            ValueError: for another suffix.
            FileExistsError: if the output is there.
            FileNotFoundError: if its folder is not.
        """
        self.path = check_output(path, SUFFIXES)
        self.axes = axes
        self._partial = self.path.with_name(f".{self.path.name}.partial-{os.getpid()}")
        per_step = 4 * len(axes.channels) * batch_size * axes.grid.nlat * axes.grid.nlon
        self._held = min(len(axes.steps), max(1, _BUFFER_BYTES // per_step))
        self._members = slice(0, 0)
        self._first = 0
        self._block: NDArray[np.float32] | None = None  # (b, held, c, h, w)
        self._ended: dict[int, int] = {}
        self._sink: Sink = (NetCDFSink if self.path.suffix == ".nc" else ZarrSink)(self._partial)
        self._define(attributes)

    def write(self, members: Sequence[int], position: int, fields: NDArray[Any]) -> None:
        """Take the state of some forecasts at one lead time.

        Args:
            members: their rows in the file, increasing.
            position: index into `axes.steps`.
            fields: (b, c, nlat, nlon), NaN where missing.
        """
        first, stop = int(members[0]), int(members[-1]) + 1
        block = position // self._held * self._held
        inside = self._members.start <= first and stop <= self._members.stop
        if self._block is None or block != self._first or not inside:
            self._flush()
            shape = (stop - first, self._held, len(self.axes.channels), *self.axes.grid.shape)
            self._members, self._first = slice(first, stop), block
            self._block = np.full(shape, np.nan, dtype=np.float32)
        rows = np.asarray(members) - self._members.start
        self._block[rows, position - self._first] = fields

    def end(self, member: int, last_step: int) -> None:
        """Mark a forecast that stopped early.

        Args:
            member: its row in the file.
            last_step: the last model step with finite values.
        """
        self._ended[member] = last_step

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file in its place, or remove it after an exception."""
        try:
            if kind is None:
                self._flush()
                with self._named_errors():
                    self._define_last_step()
                    self._sink.close()
                check_output(self.path, SUFFIXES)  # someone else may have been faster
                self._partial.rename(self.path)
            else:
                with suppress(RuntimeError, OSError):  # what went wrong first is what counts
                    self._sink.close()
        finally:
            remove(self._partial)

    def _flush(self) -> None:
        if self._block is None:
            return
        stop = min(self._first + self._held, len(self.axes.steps))
        index = (self._members, slice(self._first, stop))
        with self._named_errors():
            for c, channel in enumerate(self.axes.channels):
                self._sink.put(channel.name, index, self._block[:, : stop - self._first, c])
        self._block = None

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """The libraries' errors, which say neither file nor reason, as one that names the file."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise cannot_write(self.path, error) from error

    def _define(self, attributes: Mapping[str, str]) -> None:
        axes, sink = self.axes, self._sink
        member, shape = axes.member_dim, axes.shape
        epoch = np.min(axes.init_time).astype("datetime64[D]")
        leads, lead_units = axes.lead_time()
        # xarray turns the lead times into timedelta64 where it finds this attribute.
        decoded = {} if lead_units == "months" else {"dtype": "timedelta64[ns]"}
        sink.attributes(
            {"Conventions": CONVENTIONS, **attributes}
            | {GRID_KIND: axes.grid.kind, TIME_STEP: axes.time_step.label}
            | {CHANNELS: " ".join(v.name for v in axes.channels)}  # zarr keeps no order
        )
        sink.dims(dict(zip((member, LEAD_TIME, LATITUDE, LONGITUDE), shape, strict=True)))
        init_time, since = _encode(axes.init_time, epoch)
        start = {
            "standard_name": "forecast_reference_time",
            "long_name": "Start of the forecast",
            "units": since,
            "calendar": _CALENDAR,
        }
        # Only a coordinate variable may be an axis, and of trajectories it is not one.
        axis = {"axis": "T"} if axes.trajectory is None else {}
        sink.coordinate(INIT_TIME, (member,), init_time, start | axis)
        auxiliary = [VALID_TIME]
        if axes.trajectory is not None:
            # Not named as its dim: cdo would take the number for the time axis.
            number = {"long_name": "Number of the trajectory in the store", "units": "1"}
            trajectory = axes.trajectory.astype(np.int32)
            sink.coordinate(TRAJECTORY_NUMBER, (TRAJECTORY,), trajectory, number)
            auxiliary = [INIT_TIME, VALID_TIME, TRAJECTORY_NUMBER]
        lead_time = {
            "standard_name": "forecast_period",
            "long_name": "Time since the start of the forecast",
            "units": lead_units,
        }
        sink.coordinate(LEAD_TIME, (LEAD_TIME,), leads, lead_time | decoded)
        valid_time, since = _encode(axes.valid_time, epoch)
        valid = {
            "standard_name": "time",
            "long_name": "Time for which the forecast is valid",
            "units": since,
            "calendar": _CALENDAR,
        }
        sink.coordinate(VALID_TIME, (member, LEAD_TIME), valid_time, valid)
        for name, values, units, letter in (
            (LATITUDE, axes.grid.latitude, "degrees_north", "Y"),
            (LONGITUDE, axes.grid.longitude, "degrees_east", "X"),
        ):
            named = {"standard_name": name, "long_name": name.capitalize()}
            sink.coordinate(
                name, (name,), values.numpy(), {**named, "units": units, "axis": letter}
            )
        dims = (member, LEAD_TIME, LATITUDE, LONGITUDE)
        for channel in axes.channels:
            named = {"standard_name": channel.standard_name} if channel.standard_name else {}
            meaning = {
                "long_name": channel.long_name,
                "units": channel.units,
                "coordinates": " ".join(auxiliary),
            }
            sink.field(channel.name, dims, self._held, named | meaning)

    def _define_last_step(self) -> None:
        """A variable that a complete forecast does not have."""
        if not self._ended:
            return
        last = np.full(self.axes.shape[0], self.axes.steps[-1], dtype=np.int32)
        for member, step in self._ended.items():
            last[member] = step
        meaning = {
            "long_name": "Last model step with finite values; later ones are missing",
            "units": "1",
        }
        self._sink.coordinate(LAST_STEP, (self.axes.member_dim,), last, meaning)


def _encode(times: NDArray[np.datetime64], epoch: np.datetime64) -> tuple[NDArray[np.float64], str]:
    """Numbers since the epoch, whole ones so that they come back exactly, and their unit."""
    seconds = (times - epoch) / np.timedelta64(1, "s")
    if (seconds % 3600 == 0).all():
        return seconds / 3600, f"hours since {epoch} 00:00:00"
    return seconds, f"seconds since {epoch} 00:00:00"
