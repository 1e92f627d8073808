"""Forecasts as GRIB 2, one message for each field, written with ECMWF's eccodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.time.calendar import GREGORIAN
from configs.variables import BUILT_IN, Variable
from data_prep.store.outputs import check_output, written_beside
from forecast.inference.reader import ForecastFile
from sphere_ops.grid import Grid

if TYPE_CHECKING:
    import types

SUFFIXES = (".grib2", ".grib", ".grb2", ".grb")
MOST_BITS = 24

_SHORT_NAME = re.compile(r"\d*[a-z]{1,5}")
"""Form of ECMWF's short names, such as t, 2t and 100u. eccodes logs an error for unknown ones."""
_MISSING = 9.999e20
_UNITS = {
    ("degC", "K"): (1.0, 273.15),
    ("1", "%"): (100.0, 0.0),
    ("1", "(0 - 1)"): (1.0, 0.0),
    ("1", "Proportion"): (1.0, 0.0),
}
"""Factor and offset from our units to those of a GRIB parameter."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Parameter:
    """GRIB parameter of a variable.

    Attributes:
        short_name: Short name in ECMWF's tables.
        factor: Factor of the values.
        offset: Offset of the values after the factor.
    """

    short_name: str
    factor: float
    offset: float


def export_grib(
    forecast: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    bits: int = 16,
    progress: Progress = lambda done, total, note: None,
) -> int:
    """Write a forecast as GRIB 2.

    Amounts over a time step (such as precipitation) get the step as their period, and have no
    message at lead time 0. Lead times after the early end of a forecast have no messages.

    Args:
        forecast: Forecast file.
        out: GRIB file to write.
        variables: Names of the variables; all channels if None.
        bits: Bits of a packed value, 1 to 24. A field is stored to 2⁻ᵇⁱᵗˢ of its range.
        progress: Function that is called with (done, total, note) after each forecast.

    Returns:
        Number of messages.

    Raises:
        FileNotFoundError: If there is no forecast.
        FileExistsError: If the output exists.
        ValueError: If a variable has no GRIB parameter, or the forecast has another calendar.
        ModuleNotFoundError: If eccodes is not installed.
    """
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"{bits} bits; expected 1 to {MOST_BITS}")
    out = check_output(out, SUFFIXES)
    eccodes = _eccodes()
    file = ForecastFile(forecast)
    if file.time_step.calendar != GREGORIAN:
        raise ValueError(
            f"{file.path} has the calendar {file.time_step.calendar.name}, which GRIB does not "
            "have; use the netCDF or zarr file"
        )
    names = [file.check_variable(name) for name in variables or file.channel_names]
    parameters = {name: _parameter(eccodes, name, str(_units(file, name))) for name in names}
    n, count = len(file.init_time), 0
    with written_beside(out) as scratch, scratch.open("wb") as stream:
        for i in range(n):
            for message in _messages(eccodes, file, i, parameters, bits):
                eccodes.codes_write(message, stream)
                eccodes.codes_release(message)
                count += 1
            progress(i + 1, n, "")
    return count


def _eccodes() -> types.ModuleType:
    try:
        import eccodes
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "GRIB needs eccodes, which is not installed; install sphere-forecast[grib]"
        ) from None
    return eccodes


def _units(file: ForecastFile, name: str) -> object:
    return file.dataset[name].attrs.get("units", "1")


def _variable(name: str) -> Variable:
    try:
        return BUILT_IN.variable(name)
    except ValueError:
        return Variable(name, name, "1")


def _parameter(eccodes: types.ModuleType, name: str, units: str) -> Parameter:
    """Return the parameter of a variable: the first of its names that GRIB has in its units.

    Raises:
        ValueError: If there is none.
    """
    variable = _variable(name)
    for short_name in filter(_SHORT_NAME.fullmatch, (variable.base, *variable.aliases)):
        handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
        try:
            eccodes.codes_set(handle, "shortName", short_name)
            found = eccodes.codes_get(handle, "units").replace("**", "")
        except eccodes.CodesInternalError:
            continue
        finally:
            eccodes.codes_release(handle)
        if found == units or (units, found) in _UNITS:
            return Parameter(short_name, *_UNITS.get((units, found), (1.0, 0.0)))
    raise ValueError(
        f"GRIB has no parameter for {name} in {units} under any of its names "
        f"({', '.join((variable.base, *variable.aliases))}); name the variables to write with "
        "--variable"
    )


def _messages(
    eccodes: types.ModuleType,
    file: ForecastFile,
    forecast_index: int,
    parameters: dict[str, Parameter],
    bits: int,
) -> Iterator[int]:
    """Yield the messages of one forecast."""
    members = [None] if file.member is None else range(file.n_members)
    for member in members:
        last = file.member_last_step[forecast_index, member or 0]
        for position in np.flatnonzero(file.steps <= last):
            for name, parameter in parameters.items():
                variable = _variable(name)
                if variable.accumulated and not file.steps[position]:
                    continue
                handle = _template(eccodes, file.grid)
                _set_time(eccodes, handle, file, forecast_index, int(position), member, variable)
                _set_parameter(eccodes, handle, parameter, variable)
                field = file.field(name, forecast_index, int(position), member)
                values = field.astype(np.float64) * parameter.factor + parameter.offset
                _set_values(eccodes, handle, values, bits)
                yield handle


def _template(eccodes: types.ModuleType, grid: Grid) -> int:
    """Return a new message with the geometry of a grid."""
    gaussian = grid.kind == "legendre-gauss"
    handle: int = eccodes.codes_grib_new_from_samples(
        "regular_gg_sfc_grib2" if gaussian else "regular_ll_sfc_grib2"
    )
    latitude, longitude = grid.latitude.tolist(), grid.longitude.tolist()
    keys: dict[str, Any] = {
        "Ni": grid.nlon,
        "Nj": grid.nlat,
        "latitudeOfFirstGridPointInDegrees": latitude[0],
        "latitudeOfLastGridPointInDegrees": latitude[-1],
        "longitudeOfFirstGridPointInDegrees": longitude[0],
        "longitudeOfLastGridPointInDegrees": longitude[-1],
        "iDirectionIncrementInDegrees": 360 / grid.nlon,
        "iScansNegatively": 0,
        "jScansPositively": 0,
    }
    keys |= {"N": grid.nlat // 2} if gaussian else {
        "jDirectionIncrementInDegrees": latitude[0] - latitude[1]
    }  # fmt: skip
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    return handle


def _set_time(
    eccodes: types.ModuleType,
    handle: int,
    file: ForecastFile,
    forecast_index: int,
    position: int,
    member: int | None,
    variable: Variable,
) -> None:
    """Set start, lead time, period and ensemble member."""
    start = file.init_time[forecast_index]
    day = start.astype("datetime64[D]")
    minutes = int((start - day) / np.timedelta64(1, "m"))
    eccodes.codes_set(
        handle,
        "productDefinitionTemplateNumber",
        {(0, 0): 0, (1, 0): 1, (0, 1): 8, (1, 1): 11}[member is not None, variable.accumulated],
    )
    eccodes.codes_set(handle, "dataDate", int(str(day).replace("-", "")))
    eccodes.codes_set(handle, "dataTime", minutes // 60 * 100 + minutes % 60)
    eccodes.codes_set(handle, "significanceOfReferenceTime", 1)  # start of the forecast
    eccodes.codes_set(handle, "typeOfGeneratingProcess", 2 if member is None else 4)
    step, lead = file.time_step, int(file.steps[position])
    if step.months is not None:
        eccodes.codes_set(handle, "indicatorOfUnitOfTimeRange", 3)
        eccodes.codes_set(handle, "forecastTime", lead * step.months)
    else:
        assert step.seconds is not None
        units = {"h": 3600, "m": 60, "s": 1}
        unit = next(unit for unit, size in units.items() if step.seconds % size == 0)
        length = step.seconds // units[unit]
        eccodes.codes_set(handle, "stepUnits", unit)
        if variable.accumulated:
            eccodes.codes_set(handle, "typeOfStatisticalProcessing", 1)
            eccodes.codes_set(handle, "stepRange", f"{(lead - 1) * length}-{lead * length}")
        else:
            eccodes.codes_set(handle, "step", lead * length)
    if member is not None:
        assert file.member is not None
        eccodes.codes_set(handle, "typeOfEnsembleForecast", 3)  # positively perturbed
        eccodes.codes_set(handle, "perturbationNumber", int(file.member[member]))
        eccodes.codes_set(handle, "numberOfForecastsInEnsemble", file.n_members)


def _set_parameter(
    eccodes: types.ModuleType, handle: int, parameter: Parameter, variable: Variable
) -> None:
    eccodes.codes_set(handle, "shortName", parameter.short_name)
    if variable.level is not None:
        eccodes.codes_set(handle, "typeOfLevel", "isobaricInhPa")
        eccodes.codes_set(handle, "level", variable.level)


def _set_values(
    eccodes: types.ModuleType, handle: int, values: NDArray[np.float64], bits: int
) -> None:
    missing = np.isnan(values)
    eccodes.codes_set(handle, "bitsPerValue", bits)
    if missing.any():
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values = np.where(missing, _MISSING, values)
    eccodes.codes_set_values(handle, values.ravel())
