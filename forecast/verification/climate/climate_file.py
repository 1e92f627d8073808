"""Contents of the climate file, and its writing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, CONVENTIONS, LATITUDE, LONGITUDE
from data_prep.store.outputs import written_beside
from data_prep.store.reader import Store
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reader import ForecastFile
from forecast.inference.reading.lead_times import time_label
from forecast.verification.climate.comparison import Comparison, Row
from forecast.verification.climate.diagnostic import OF_CHANNEL, Diagnostic, Statistic
from forecast.verification.climate.setting import Setting
from forecast.verification.climate.sources import Source

SOURCES = ("forecast", "truth")
SAMPLING = "_sampling"
"""Suffix of the standard deviation of forecast minus truth by sampling alone."""
NOTES = "notes"
"""Attribute with notes, one sentence per line; absent if there are none."""
COMPARISON = "comparison"
"""Dim of the distances."""

_LABELS = {
    "measure": ("measure", "Name of the distance"),
    "measure_long_name": ("long_name", "Description of the distance"),
    "quantity": ("quantity", "Channel or budget"),
    "distance_units": ("units", "Units of distance, expected and largest"),
}
"""Coordinates of the distances: attribute of `Row` and description."""

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Contents:
    """All that a climate file is made of.

    Attributes:
        file: Forecast file.
        store: Store with the truth.
        setting: Facts that both share.
        model: Source of the forecast's states.
        truth: Source of the true states.
        compared: Diagnostics of the truth, and their comparisons.
        notes: Notes, one sentence each.
        facts: Further attributes of the file.
    """

    file: ForecastFile
    store: Store
    setting: Setting
    model: Source
    truth: Source
    compared: Sequence[tuple[Diagnostic, Comparison]]
    notes: Sequence[str]
    facts: Mapping[str, str]


def make_dataset(contents: Contents) -> xr.Dataset:
    """Return a dataset of statistics and distances with coordinates and attributes."""
    data = xr.Dataset(coords=_coordinates(contents))
    rows: list[Row] = []
    for diagnostic, comparison in contents.compared:
        data = data.assign_coords(
            {name: (dims, *rest) for name, (dims, *rest) in diagnostic.coordinates.items()}
        )
        for statistic in diagnostic.statistics:
            _add(data, statistic, comparison)
        rows += comparison.rows
    for name, meaning in (
        ("distance", "Distance of the forecast from the truth"),
        ("expected", "Distance to expect of another realisation as long as the forecast"),
        (
            "largest",
            "Largest distance of halves of the truth, scaled to the forecast's length; of trends, "
            "two standard errors",
        ),
        ("ratio", "Distance over the expected one: about 1 if as good as another realisation"),
    ):
        units = {"units": "1"} if name == "ratio" else {}
        values = np.array([getattr(row, name) for row in rows])
        data[name] = ((COMPARISON,), values, {"long_name": meaning, **units})
    for name, (attribute, meaning) in _LABELS.items():
        labels = np.array([getattr(row, attribute) for row in rows], dtype=object)
        data = data.assign_coords({name: ((COMPARISON,), labels, {"long_name": meaning})})
    data.attrs = _attributes(contents)
    return data


def rows_of(data: xr.Dataset) -> list[Row]:
    """Return the distances of a climate file."""
    names = (*_LABELS, "distance", "expected", "largest")  # in the order of `Row`
    columns = (data[name].values.tolist() for name in names)
    return [Row(*row) for row in zip(*columns, strict=True)]


def write(data: xr.Dataset, path: Path) -> None:
    """Write the climate to a netCDF file."""
    encoding: dict[Hashable, dict[str, Any]] = {
        name: {"_FillValue": None} for name in data.coords if data[name].dtype != "O"
    }
    for name in encoding:
        if data[name].dtype.kind == "i":
            encoding[name]["dtype"] = "i4"  # CF 1.8 has no 64-bit integers
    for name, variable in data.data_vars.items():
        if variable.ndim > 2:
            encoding[name] = {"zlib": True, "complevel": 1}
    with written_beside(path) as scratch:
        data.to_netcdf(scratch, engine="netcdf4", encoding=encoding)


def _add(data: xr.Dataset, statistic: Statistic, comparison: Comparison) -> None:
    """Add the variables of a statistic."""
    name = statistic.name
    attributes = {"long_name": statistic.long_name}
    if statistic.units not in ("", OF_CHANNEL):
        attributes["units"] = statistic.units
    if statistic.cell_methods:
        attributes["cell_methods"] = statistic.cell_methods
    both = np.stack([comparison.forecast[name], comparison.truth[name]])
    data[name] = (("source", *statistic.dims), both, attributes)
    if name in comparison.sampling:
        meaning = "ln(forecast / truth)" if statistic.logarithmic else "forecast minus truth"
        data[name + SAMPLING] = (
            statistic.dims,
            comparison.sampling[name],
            {
                "long_name": f"Standard deviation of {meaning} by sampling alone: "
                f"{statistic.long_name}"
            },
        )


def _coordinates(contents: Contents) -> dict[str, Any]:
    """Return the coordinates that all statistics share."""
    grid, channels = contents.setting.grid, contents.setting.channels

    def labels(dim: str, values: Sequence[str], long_name: str) -> tuple[str, Any, dict[str, str]]:
        return dim, np.array(values, dtype=object), {"long_name": long_name}

    found: dict[str, Any] = {
        "source": labels("source", SOURCES, "Source of the states"),
        CHANNEL: labels(CHANNEL, [v.name for v in channels], "Variable"),
        "channel_long_name": labels(CHANNEL, [v.long_name for v in channels], "Name"),
        "channel_units": labels(CHANNEL, [v.units for v in channels], "Units of the variable"),
    }
    for name, values, units, axis in (
        (LATITUDE, grid.latitude, "degrees_north", "Y"),
        (LONGITUDE, grid.longitude, "degrees_east", "X"),
    ):
        meaning = {"standard_name": name, "long_name": name.capitalize()}
        found[name] = (name, values.numpy(), {**meaning, "units": units, "axis": axis})
    return found


def _attributes(contents: Contents) -> dict[str, Any]:
    """Return the global attributes."""
    file, store, model, truth = contents.file, contents.store, contents.model, contents.truth
    setting = contents.setting
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes: dict[str, Any] = {
        "Conventions": CONVENTIONS,
        "title": f"Climate of the forecast {file.path.name}",
        "source": str(file.dataset.attrs.get("source", "")),
        "history": f"{now} forecast climate {file.path.name} against store {store.path.name}",
        "comment": "Distances of forecast and truth are compared with those of halves of the truth "
        f"(of {truth.n_groups} groups of times), scaled to the lengths of both by "
        "sqrt(1/n_forecast + 1/n_truth): a ratio of about 1 is that of another realisation. "
        "Means over the sphere are area-weighted. Times after the end of a forecast that ended "
        "early are left out.",
        TIME_STEP: setting.interval.label,
        "trend_unit": setting.trend_unit,
        "segment_states": setting.segment,
        "forecast_runs": len(model.runs),
        "forecast_states": model.n_states,
        "forecast_period": _period(model, setting),
        "truth_runs": len(truth.runs),
        "truth_states": truth.n_states,
        "truth_period": _period(truth, setting),
        "grid_kind": setting.grid.kind,
        "has_trajectories": int(store.has_trajectories),
        **contents.facts,
    }
    return attributes | ({NOTES: "\n".join(contents.notes)} if contents.notes else {})


def _period(source: Source, setting: Setting) -> str:
    """Return the first and the last time of a source."""
    first = min(run.time[0] for run in source.runs)
    last = max(run.time[-1] for run in source.runs)
    return " to ".join(time_label(t, setting.interval) for t in (first, last))
