"""Copy of a complete forecast in the layout of WeatherBench 2.

Dims are (time, [number,] prediction_timedelta, [level,] latitude, longitude), with latitudes from
south to north; variables have the long names of ERA5, and pressure levels are a dim. It is what
`weatherbench2` and WeatherBench-X read (Rasp et al. 2024, J. Adv. Model. Earth Syst. 16).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from configs.layout import LATITUDE, LONGITUDE
from configs.time.step import TimeStep
from configs.variables import BUILT_IN, Variable
from forecast.inference.chunk_files import all_missing
from forecast.inference.coordinates import ForecastAxes, encode_times
from forecast.inference.writing.file_formats import FileFormat, NetCDFFormat, ZarrFormat

TIME: Final = "time"
NUMBER: Final = "number"
PREDICTION_TIMEDELTA: Final = "prediction_timedelta"
LEVEL: Final = "level"

_FREEZING = 273.15  # K


@dataclass(frozen=True)
class _CopiedVariable:
    """Variable of the copy.

    Attributes:
        name: Name by WeatherBench 2.
        source: Variables of the forecast by their level, hPa; None for a single level.
    """

    name: str
    source: dict[int | None, Variable]

    @property
    def first(self) -> Variable:
        """One of the variables, for units and standard name."""
        return next(iter(self.source.values()))

    @property
    def has_levels(self) -> bool:
        """True if the variable is on pressure levels."""
        return None not in self.source


def check_fits(axes: ForecastAxes) -> None:
    """Raise a ValueError if forecasts have no place in the layout."""
    if axes.trajectory is not None:
        raise ValueError(
            "the layout of WeatherBench 2 is for forecasts from times of a series, and these are "
            "from trajectories; leave out --layout weatherbench2"
        )
    if axes.time_step.is_calendar:
        raise ValueError(
            f"the layout of WeatherBench 2 has lead times in hours, and the time step is "
            f"{axes.time_step}; leave out --layout weatherbench2"
        )


def long_name(variable: Variable, time_step: TimeStep) -> tuple[str, int | None]:
    """Return the name of a variable by WeatherBench 2, and its level; its own if it has none.

    Args:
        variable: Variable of a forecast.
        time_step: Interval of the steps, over which amounts are accumulated.
    """
    try:
        known = BUILT_IN.variable(variable.name)
    except ValueError:
        return variable.base, variable.level
    name = known.aliases[0] if known.aliases else known.base
    if known.accumulated and time_step.hours:
        amount = f"{name}_{time_step.hours:g}hr"  # total_precipitation_6hr
        name = amount if BUILT_IN.period_of(amount) else name
    return name, known.level


def copy_to_weatherbench2(
    source: ZarrFormat, target: Path, axes: ForecastAxes, held: int
) -> Iterator[None]:
    """Copy forecast by forecast; memory does not grow with the size of the file.

    Args:
        source: Complete forecast.
        target: File to create, `.nc` or `.zarr`.
        axes: Contents of the forecast.
        held: Lead times that are copied at once.

    Yields:
        None after each forecast with all its members.
    """
    file = NetCDFFormat(target) if target.suffix == ".nc" else ZarrFormat(target, new=True)
    variables = _variables(axes)
    levels = sorted({level for v in variables for level in v.source if level is not None})
    try:
        _define(file, axes, variables, levels, source.read_attributes(), held)
        for forecast_index in range(len(axes.init_time)):
            for member in range(axes.n_members):
                row = (forecast_index,) if axes.member is None else (forecast_index, member)
                for first in range(0, len(axes.steps), held):
                    index = (*row, slice(first, first + held))
                    for variable in variables:
                        values = _values(source, variable, index, levels)
                        if not all_missing(values):  # else it is missing already
                            file.put(variable.name, index, values)
            yield
    finally:
        file.close()


def _variables(axes: ForecastAxes) -> list[_CopiedVariable]:
    """Return the variables of the copy, those of several levels joined."""
    targets: dict[str, _CopiedVariable] = {}
    for variable in axes.variables:
        name, level = long_name(variable, axes.time_step)
        targets.setdefault(name, _CopiedVariable(name, {})).source[level] = variable
    return list(targets.values())


def _define(
    file: FileFormat,
    axes: ForecastAxes,
    variables: Sequence[_CopiedVariable],
    levels: Sequence[int],
    attributes: Mapping[str, str],
    held: int,
) -> None:
    """Define everything in the file, and write its coordinates."""
    file.attributes({k: v for k, v in attributes.items() if k in _ATTRIBUTES})
    members = {} if axes.member is None else {NUMBER: axes.n_members}
    nlat, nlon = axes.grid.shape
    outer = {TIME: len(axes.init_time)} | members | {PREDICTION_TIMEDELTA: len(axes.steps)}
    level = {LEVEL: len(levels)} if levels else {}
    file.dims(outer | level | {LATITUDE: nlat, LONGITUDE: nlon})
    times, since = encode_times(axes.init_time, axes)
    calendar = axes.time_step.calendar.name
    start = {"standard_name": "forecast_reference_time", "units": since, "calendar": calendar}
    file.coordinate(TIME, (TIME,), times, start)
    leads, units = axes.lead_time()
    lead = {"standard_name": "forecast_period", "units": units, "dtype": "timedelta64[ns]"}
    file.coordinate(PREDICTION_TIMEDELTA, (PREDICTION_TIMEDELTA,), leads.astype(np.int64), lead)
    if axes.member is not None:
        meaning = {"standard_name": "realization", "units": "1"}
        file.coordinate(NUMBER, (NUMBER,), axes.member.astype(np.int64), meaning)
    if levels:
        pressure = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        file.coordinate(LEVEL, (LEVEL,), np.array(levels, dtype=np.int64), pressure)
    latitude, longitude = axes.grid.latitude.numpy()[::-1].copy(), axes.grid.longitude.numpy()
    for name, values, units in (
        (LATITUDE, latitude, "degrees_north"),
        (LONGITUDE, longitude, "degrees_east"),
    ):
        file.coordinate(name, (name,), values, {"standard_name": name, "units": units})
    for target in variables:
        first = target.first
        named = {"standard_name": first.standard_name} if first.standard_name else {}
        words = {"long_name": target.name.replace("_", " "), "units": _units(first)}
        dims = (*outer, *(level if target.has_levels else ()), LATITUDE, LONGITUDE)
        # Of a variable with levels, the piece holds all levels of one lead time.
        piece = (len(levels) if target.has_levels else held, nlat)
        file.field(target.name, dims, piece, named | words)


_ATTRIBUTES = ("title", "source", "history", "comment", "Conventions")


def _values(
    source: ZarrFormat,
    target: _CopiedVariable,
    index: tuple[int | slice, ...],
    levels: Sequence[int],
) -> NDArray[np.float32]:
    """Read a variable of one member at some lead times, (k, [level,] nlat, nlon), south first."""
    fields = {level: source.get(v.name, index) for level, v in target.source.items()}
    if _units(target.first) != target.first.units:
        fields = {level: values + np.float32(_FREEZING) for level, values in fields.items()}
    if not target.has_levels:
        return fields[None][..., ::-1, :]
    missing = np.full_like(next(iter(fields.values())), np.nan)
    return np.stack([fields.get(level, missing) for level in levels], axis=-3)[..., ::-1, :]


def _units(variable: Variable) -> str:
    """Return the units in the copy: temperatures are in K."""
    return "K" if variable.units == "degC" else variable.units
