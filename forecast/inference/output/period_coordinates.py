"""Statistics of periods in a forecast file, by CF-1.8: coordinates, bounds, cell methods."""

from __future__ import annotations

from typing import Final

import numpy as np

from configs.layout import INIT_TIME, PERIOD
from forecast.inference.coordinates import ForecastAxes, encode_times
from forecast.inference.output.periods import Periods
from forecast.inference.output.statistics import STATISTICS
from forecast.inference.writing.file_formats import FileFormat

PERIOD_TIME: Final = "period_time"
PERIOD_BOUNDS: Final = "period_bounds"
N_STEPS: Final = "n_steps"

_BOUNDS_DIM = "bounds"
_METHODS = dict(zip(STATISTICS, ("mean", "standard_deviation", "minimum", "maximum"), strict=True))
_WORDS = dict(zip(STATISTICS, ("mean", "standard deviation", "minimum", "maximum"), strict=True))


def define_periods(file: FileFormat, axes: ForecastAxes, periods: Periods, rows: int) -> None:
    """Define the statistics of periods, and write their coordinates.

    Args:
        file: Forecast file that is being written.
        axes: Contents of the file.
        periods: Periods of its forecasts.
        rows: Rows of the grid that are written at once.
    """
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
    counted = {
        "long_name": "Number of steps of the forecast in the period that are counted",
        "units": "1",
        "coordinates": PERIOD_TIME,
    }
    file.coordinate(N_STEPS, tuple(dims), np.zeros(tuple(dims.values()), dtype=np.int32), counted)
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
            field = statistic_name(variable.name, name)
            file.field(field, (*dims, *space), (1, rows), named | meaning)


def statistic_name(variable: str, statistic: str) -> str:
    """Return the name in the file of a statistic of a variable, such as t2m_mean."""
    return f"{variable}_{statistic}"


def _interval(axes: ForecastAxes) -> str:
    """Return the interval of the steps by CF, as a number and a UDUNITS unit."""
    units = {"s": "s", "min": "minute", "h": "hour", "d": "day", "mo": "month"}
    return f"{axes.time_step.count} {units[axes.time_step.unit]}"
