"""Statistics of periods in a forecast file, by CF-1.8: coordinates, bounds, cell methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from configs.layout import INIT_TIME, PERIOD
from forecast.inference.coordinates import ForecastAxes, encode_times
from forecast.inference.output.statistics import STATISTICS
from forecast.inference.writing.file_formats import FileFormat

PERIOD_TIME: Final = "period_time"
PERIOD_BOUNDS: Final = "period_bounds"
N_STEPS: Final = "n_steps"

_BOUNDS_DIM = "bounds"
_METHODS = dict(zip(STATISTICS, ("mean", "standard_deviation", "minimum", "maximum"), strict=True))
_WORDS = dict(zip(STATISTICS, ("mean", "standard deviation", "minimum", "maximum"), strict=True))


def define_periods(file: FileFormat, axes: ForecastAxes, rows: int) -> None:
    """Define the statistics of periods, if there are any, and write their coordinates.

    Args:
        file: Forecast file that is being written.
        axes: Contents of the file.
        rows: Rows of the grid that are written at once.
    """
    periods = axes.periods
    if periods is None:
        return
    dim, calendar = axes.forecast_dim, axes.time_step.calendar
    file.dims({PERIOD: len(periods), _BOUNDS_DIM: 2})
    bounds = periods.bounds()  # (n, p, 2)
    numbers = {"long_name": "Number of the period since the start of the forecast", "units": "1"}
    file.coordinate(PERIOD, (PERIOD,), np.arange(len(periods), dtype=np.int32), numbers)
    values, since = encode_times(bounds, axes)
    encoded = {"units": since, "calendar": calendar.name}
    times = {
        "standard_name": "time",
        "long_name": f"Beginning of the period ({periods.label})",
        "bounds": PERIOD_BOUNDS,
    }
    file.coordinate(PERIOD_TIME, (dim, PERIOD), values[..., 0], times | encoded)
    file.coordinate(PERIOD_BOUNDS, (dim, PERIOD, _BOUNDS_DIM), values, encoded)
    dims = axes.forecast_dims | {PERIOD: len(periods)}
    auxiliary = [PERIOD_TIME] + [INIT_TIME] * (axes.trajectory is not None)
    space = tuple(axes.dims)[-2:]
    for variable in axes.variables:
        named = {"standard_name": variable.standard_name} if variable.standard_name else {}
        for name in STATISTICS:
            meaning = {
                "long_name": f"{variable.long_name}, {_WORDS[name]} over the period",
                "units": variable.units,
                "cell_methods": f"time: {_METHODS[name]} (interval: {_interval(axes)})",
                "coordinates": " ".join(auxiliary),
            }
            file.field(f"{variable.name}_{name}", (*dims, *space), (1, rows), named | meaning)


def define_n_steps(file: FileFormat, axes: ForecastAxes, ended: Mapping[int, int]) -> None:
    """Write the number of steps in each period, at the end of a rollout with periods.

    Args:
        file: Forecast file that is being written.
        axes: Contents of the file.
        ended: Last model steps of the forecasts that ended early, by row.
    """
    periods = axes.periods
    if periods is None:
        return
    counts = np.zeros((axes.rows, len(periods)), dtype=np.int32)
    for row in range(axes.rows):
        of_steps = periods.of_steps([row // axes.n_members])[0]
        last = ended.get(row, periods.n_steps)
        counts[row] = np.bincount(of_steps[: last + 1], minlength=len(periods))
    meaning = {
        "long_name": "Number of steps of the forecast that are counted in the period",
        "units": "1",
        "coordinates": PERIOD_TIME,
    }
    dims = axes.forecast_dims | {PERIOD: len(periods)}
    file.coordinate(N_STEPS, tuple(dims), counts.reshape(tuple(dims.values())), meaning)


def statistic_names(axes: ForecastAxes) -> list[str]:
    """Return the names of all statistics in the file, such as t2m_mean."""
    return [f"{v.name}_{statistic}" for statistic in STATISTICS for v in axes.variables]


def put_period(
    file: FileFormat, axes: ForecastAxes, at: tuple[int | slice, ...], values: NDArray[Any]
) -> None:
    """Write the statistics of a period of some forecasts.

    Args:
        file: Forecast file that is being written.
        axes: Contents of the file.
        at: Index in the arrays of the file.
        values: Statistics, (b, statistic, variable, nlat, nlon), in the order of `STATISTICS`.
    """
    fields = values.reshape(len(values), -1, *values.shape[-2:])
    for i, name in enumerate(statistic_names(axes)):
        file.put(name, at, fields[:, i, None])


def _interval(axes: ForecastAxes) -> str:
    """Return the interval of the steps by CF, as a number and a UDUNITS unit."""
    units = {"s": "s", "min": "minute", "h": "hour", "d": "day", "mo": "month"}
    return f"{axes.time_step.count} {units[axes.time_step.unit]}"
