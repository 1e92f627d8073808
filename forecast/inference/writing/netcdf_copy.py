"""Copy of a complete zarr forecast as a netCDF file.

A netCDF file that is open when its process is killed cannot be read any more. A forecast is
therefore written as zarr first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from forecast.inference.chunk_files import all_missing
from forecast.inference.coordinates import ForecastAxes, define, define_last_step
from forecast.inference.output.period_coordinates import (
    define_n_steps,
    define_periods,
    statistic_names,
)
from forecast.inference.writing.file_formats import NetCDFFormat, ZarrFormat


def copy_to_netcdf(
    source: ZarrFormat,
    target: Path,
    axes: ForecastAxes,
    ended: Mapping[int, int],
    held: int,
) -> Iterator[None]:
    """Copy forecast by forecast; memory does not grow with the size of the file.

    Args:
        source: the complete forecast.
        target: netCDF file to create.
        axes: what is in the file.
        ended: last steps of the forecasts that ended early, by row.
        held: lead times of a piece of the source.

    Yields:
        None after each forecast with all its members.
    """
    file = NetCDFFormat(target)
    try:
        define(file, axes, source.read_attributes(), held, axes.grid.nlat)
        define_periods(file, axes, axes.grid.nlat)
        for forecast_index in range(len(axes.init_time)):
            for member in range(axes.n_members):
                row = (forecast_index,) if axes.member is None else (forecast_index, member)
                for index, names in _pieces(axes, held):
                    for name in names:
                        values = source.get(name, (*row, index))
                        if not all_missing(values):  # else it is missing already
                            file.put(name, (*row, index), values)
            yield
        define_last_step(file, axes, ended)
        define_n_steps(file, axes, ended)
    finally:
        file.close()


def _pieces(axes: ForecastAxes, held: int) -> Iterator[tuple[slice, list[str]]]:
    """Yield the pieces of a forecast: lead times or periods, and the variables that have them."""
    if axes.snapshots:
        for first in range(0, len(axes.steps), held):
            yield slice(first, first + held), [variable.name for variable in axes.variables]
    for period in range(0 if axes.periods is None else len(axes.periods)):
        yield slice(period, period + 1), statistic_names(axes)
