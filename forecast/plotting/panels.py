"""Panels of a map: their fields, names and colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from configs.style import ERRORS, SIGNED, VALUES, MapStyle, power_of_ten, quantity
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import colour_range, is_signed
from forecast.plotting.selection import long_name, units_of

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

    @property
    def scale(self) -> tuple[Any, ...]:
        """Values that are equal for panels which share a colour bar."""
        return self.quantity, self.units, self.low, self.high, self.extend, self.style

    @property
    def colours(self) -> dict[str, Any]:
        """Colour map and limits as matplotlib takes them."""
        return {"cmap": colormaps[self.style.colours], "norm": Normalize(self.low, self.high)}


def make_panels(
    file: ForecastFile,
    variable: str,
    fields: dict[str, Array],
    *,
    weights: Array,
    anomaly: bool = False,
    limits: tuple[float, float] | None = None,
) -> list[Panel]:
    """Return a panel for each field; forecast and truth share colours, and the error follows.

    Args:
        file: Forecast file.
        variable: Short name of the variable.
        fields: Forecast, and the truth if there is one, by their titles; two-dimensional.
        weights: Weights of the points in the mean of the squared error, broadcast against the
            fields; 0 at points that the picture does not show.
        anomaly: True if the fields are anomalies.
        limits: Limits of the colours of forecast and truth; chosen from the fields if None.
    """
    units, name = units_of(file, variable), long_name(file, variable, anomaly)
    weights = np.broadcast_to(weights, next(iter(fields.values())).shape)
    values = [field[weights > 0] for field in fields.values()]
    standard_name = file.dataset[variable].attrs.get("standard_name", "")
    signed = anomaly or is_signed(standard_name, values[-1])
    colours = colour_range(values, signed, limits)
    style = SIGNED if signed else VALUES
    panels = [Panel(title, f, name, units, *colours, style) for title, f in fields.items()]
    if len(fields) == 2:
        field, truth = fields.values()
        error = field - truth
        colours, name = colour_range([error[weights > 0]], True), "Forecast − truth"
        panel = Panel(name, error, name, units, *colours, ERRORS)
        rmse = quantity(root_mean_square(error, weights), units, panel.power)
        panels.append(replace(panel, title=f"{name} (rmse {rmse})"))
    return panels


def root_mean_square(values: Array, weights: Array) -> float:
    """Return the root of the weighted mean square of the values that are not missing."""
    known = np.where(np.isfinite(values), weights, 0.0)
    total = known.sum()
    return float(np.sqrt((known * np.nan_to_num(values) ** 2).sum() / total)) if total else np.nan
