"""Panels of a map: their fields, names and colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.style import ERRORS, SIGNED, VALUES, MapStyle, power_of_ten, quantity
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile, time_label
from forecast.plotting.figure import colour_range, is_signed
from forecast.verification import metrics
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Panel:
    """Field of one map, and its colours; `extend` names the limits that values exceed."""

    title: str
    field: Array
    quantity: str
    units: str
    low: float
    high: float
    extend: str
    style: MapStyle

    @property
    def power(self) -> int:
        """Power of ten in the label of the colour bar."""
        return power_of_ten(max(abs(self.low), abs(self.high)))


def make_panels(
    file: ForecastFile, variable: str, fields: dict[str, Array], anomaly: bool
) -> list[Panel]:
    """Return a panel for each field; forecast and truth share colours, and the error follows."""
    attributes = file.dataset[variable].attrs
    units, name = attributes.get("units", "1"), long_name(file, variable, anomaly)
    *_, last = fields.values()
    signed = anomaly or is_signed(attributes.get("standard_name", ""), last)
    limits = colour_range(list(fields.values()), signed)
    style = SIGNED if signed else VALUES
    panels = [Panel(title, f, name, units, *limits, style) for title, f in fields.items()]
    if len(fields) == 2:
        field, truth = fields.values()
        error = field - truth
        area = file.grid.area_weights.numpy()
        rmse = float(np.sqrt(metrics.squared_error(field, truth, area)))
        limits, name = colour_range([error], True), "Forecast − truth"
        panel = Panel(name, error, name, units, *limits, ERRORS)
        title = f"{name} (rmse {quantity(rmse, units, panel.power)})"
        panels.append(replace(panel, title=title))
    return panels


def true_field(
    file: ForecastFile, store: str | Path, variable: str, forecast_index: int, position: int
) -> tuple[Array, Array]:
    """Return the true field and the reference of its anomaly."""
    source = Store(store)
    file.check_fits(source)
    if variable in file.derived_names:
        raise ValueError(
            f"{variable} in {file.path} was computed from the forecast, and store {source.path} "
            "does not give its truth; draw it without the truth, or draw a variable out of "
            f"{', '.join(file.channel_names)}"
        )
    truth = Truth(file, source)
    truth.check_start(forecast_index)
    known = truth.known(forecast_index, slice(position, position + 1))
    if not len(known):
        raise ValueError(
            f"store {source.path} has no state at {file.lead_label(position)} after "
            f"{file.forecast_label(forecast_index)}; choose a shorter lead time, or draw without "
            "the truth"
        )
    channel = file.channel_names.index(variable)
    true, reference = truth.states(forecast_index, known), truth.reference(forecast_index, known)
    return true[0, channel], reference[0, channel]


def long_name(file: ForecastFile, variable: str, anomaly: bool) -> str:
    """Return the name of a variable for titles and colour bars."""
    name = str(file.dataset[variable].attrs.get("long_name", variable))
    return f"{name}, anomaly" if anomaly else name


def map_title(file: ForecastFile, name: str, forecast_index: int, position: int) -> str:
    """Return the title of a figure of one forecast at one lead time."""
    start = time_label(file.init_time[forecast_index], file.time_step)
    valid = time_label(file.valid_time[forecast_index, position], file.time_step)
    of = "" if file.trajectory is None else f"trajectory {file.trajectory[forecast_index]}, "
    return f"{name}\n{of}init {start}, lead {file.lead_label(position)}, valid {valid}"
