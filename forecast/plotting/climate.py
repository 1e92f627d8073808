"""Pictures of a climate file: one figure per variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from configs.layout import CHANNEL, LATITUDE, LONGITUDE
from configs.style import (
    BLUE,
    ERRORS,
    GREY,
    INK,
    new_figure,
    numbers,
    picture_style,
    plain_log_ticks,
    power_of_ten,
    pretty_units,
    quantity,
    with_units,
)
from data_prep.store.outputs import check_output
from forecast.inference.reading.open_file import open_output
from forecast.plotting.figure import SUFFIXES, colour_range, save
from forecast.plotting.maps import draw_panels
from forecast.plotting.panels import Panel
from forecast.plotting.projections import map_view
from forecast.verification.climate.climate_file import COMPARISON, SAMPLING, SOURCES, rows_of
from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]

_FORECAST, _TRUTH = SOURCES
_RANGE = 2.0  # standard deviations
_SHADE: Any = {"color": GREY, "alpha": 0.35, "linewidth": 0}
_STYLE: dict[str, Any] = {
    _FORECAST: {"color": BLUE, "linewidth": 1.8},
    _TRUTH: {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 2))},
}
_NARROW = 1e-3
_PANELS = 6
_PIXELS = 500
_FEWEST_POWER = 1e-10  # of the largest: below are rounding errors of float32


def plot_climate(
    climate: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    coastlines: bool | None = None,
) -> list[Path]:
    """Draw the climate of a forecast and the truth, with the range that sampling allows.

    Args:
        climate: Climate file.
        out: Picture (`.png`, `.pdf` or `.svg`) of one variable, or a folder for a picture `.png` of
            each variable, which is made if it does not exist.
        variables: Variables to draw; if None, the first one in a picture, all in a folder.
        coastlines: True to draw coastlines; if None, they are drawn unless the data are
            trajectories of a solver.

    Returns:
        Paths of the pictures.

    Raises:
        ValueError: If the file is no climate file, a variable is not in it, or one picture is asked
            for of several variables.
        FileNotFoundError: If the climate file does not exist.
        FileExistsError: If an output exists.
    """
    path, out = Path(climate), Path(out)
    data = open_output(path, "climate", "forecast climate")
    if COMPARISON not in data.dims or "time_mean" not in data:
        raise ValueError(f"{path} is not a climate file; make one with `forecast climate`")
    known = [str(name) for name in data[CHANNEL].values]
    for name in variables or ():
        if name not in known:
            raise ValueError(f"{path} has no variable {name!r}; it has {', '.join(known)}")
    if out.suffix in SUFFIXES:
        chosen = list(variables or known[:1])
        if len(chosen) > 1:
            raise ValueError(
                f"{out} is one picture, of {', '.join(chosen)}; give one variable, or a folder"
            )
        paths = [out]
    else:
        chosen = list(variables or known)
        if not out.is_dir():
            check_output(out).mkdir()
        paths = [out / f"{name}.png" for name in chosen]
    for picture in paths:
        check_output(picture, SUFFIXES)
    earth = not data.attrs["has_trajectories"] if coastlines is None else coastlines
    for name, picture in zip(chosen, paths, strict=True):
        save(draw_climate(data, name, coastlines=bool(earth)), picture)
    return paths


@picture_style()
def draw_climate(data: xr.Dataset, variable: str, *, coastlines: bool) -> Figure:
    """Return the figure of one variable; see `plot_climate`."""
    data = data.sel({CHANNEL: variable})
    curves = [draw for names, draw in _CURVES if all(name in data for name in names)][:_PANELS]
    n_rows = -(-len(curves) // 3)
    figure = new_figure(13.0, 4.4 + 3.1 * n_rows)
    parts: Any = figure.subfigures(2, 1, height_ratios=[4.4, 3.1 * n_rows])
    top, bottom = parts
    _draw_maps(top, data, coastlines)
    panels = bottom.subplots(n_rows, 3, squeeze=False).ravel()
    for axes, draw in zip(panels, curves, strict=False):
        draw(axes, data)
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    handles: list[Any] = [Line2D([], [], label=name, **_STYLE[name]) for name in SOURCES]
    handles.append(Patch(label="truth ± 2 standard deviations of sampling", **_SHADE))
    bottom.legend(handles=handles, loc="outside lower center", ncols=3)
    title = str(data.attrs["title"])
    figure.suptitle(
        f"{data.channel_long_name.item()}: {title[0].lower()}{title[1:]} "
        f"({data.attrs['forecast_states']} states) against {data.attrs['truth_states']} true states"
    )
    return figure


def _draw_maps(figure: Any, data: xr.Dataset, coastlines: bool) -> None:
    """Draw the bias of the mean, and the ratio of the standard deviations."""
    grid = Grid.from_coordinates(data[LATITUDE].values, data[LONGITUDE].values)
    units = str(data.channel_units.item())
    mean, variance = data.time_mean.values, data.variance.values
    bias = mean[0] - mean[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        positive = (variance[0] > 0) & (variance[1] > 0)
        spread = np.where(positive, np.log(variance[0] / variance[1]) / 2, np.nan)
    fields = (
        ("mean", "Bias of the mean", bias, units, data["time_mean" + SAMPLING].values),
        (
            "variance",
            "ln(standard deviation, forecast / truth)",
            spread,
            "1",
            data["variance" + SAMPLING].values / 2,
        ),
    )
    panels = []
    for measure, name, field, of, _ in fields:
        label = name if measure == "mean" else "Standard deviation"
        title = f"{label}{_ratio(data, measure)}"
        panels.append(Panel(title, field, name, of, *colour_range([field], True), ERRORS))
    view = map_view("robinson")
    drawn = draw_panels(figure, panels, view, grid, coastlines)
    for axes, (*_, field, _, sampling) in zip(drawn, fields, strict=True):
        beyond = np.abs(field) > _RANGE * sampling
        image = view.on_map(np.where(np.isfinite(field), beyond, 0.0), grid, _PIXELS)
        axes.contourf(
            *view.plane(_PIXELS),
            np.nan_to_num(image),
            [0.5, 1.5],
            colors="none",
            hatches=["..."],
            transform=view.crs,
        )
    figure.supxlabel("dotted: beyond two standard deviations of sampling", fontsize=9)


def _ratio(data: xr.Dataset, measure: str) -> str:
    """Return the distance and its ratio to that of another realisation, for a title."""
    of = str(data[CHANNEL].item())
    row = next(r for r in rows_of(data) if (r.measure, r.quantity) == (measure, of))
    rms = quantity(row.distance, row.units, power_of_ten(abs(row.distance)))
    return f" (rms {rms}" + (f", ratio {row.ratio:.2g})" if np.isfinite(row.ratio) else ")")


def _range(data: xr.Dataset, name: str, *, logarithmic: bool = False) -> tuple[Array, Array]:
    """Return the range that sampling allows about the truth."""
    truth, spread = data[name].sel(source=_TRUTH).values, _RANGE * data[name + SAMPLING].values
    if logarithmic:
        return truth * np.exp(-spread), truth * np.exp(spread)
    return truth - spread, truth + spread


def _lines(axes: Axes, x: Array, data: xr.Dataset, name: str, **range_options: Any) -> None:
    """Draw forecast, truth and range over x."""
    low, high = _range(data, name, **range_options)
    axes.fill_between(x, low, high, **_SHADE)
    for source in SOURCES:
        axes.plot(x, data[name].sel(source=source).values, **_STYLE[source])


def _in_units(axes: Axes, data: xr.Dataset, name: str) -> None:
    """Label the y axis in the units of the variable."""
    low, high = axes.get_ylim()
    largest = max(abs(low), abs(high))
    power = power_of_ten(largest)
    narrow = high - low < _NARROW * largest  # ticks then show differences from a constant
    axes.set_ylabel(with_units(name, str(data.channel_units.item()), 0 if narrow else power))
    axes.yaxis.set_major_formatter(ScalarFormatter() if narrow else numbers(power))


def _squared(data: xr.Dataset) -> str:
    units = pretty_units(str(data.channel_units.item()))
    if not units:
        return ""
    return f" [{units}²]" if units.replace("°", "").isalpha() else f" [({units})²]"


def _zonal_mean(axes: Axes, data: xr.Dataset) -> None:
    _lines(axes, data[LATITUDE].values, data, "zonal_mean")
    axes.set_xlim(-90, 90)
    axes.set_xticks(range(-90, 91, 30))
    axes.set_xlabel("latitude [°]")
    axes.set_title("Zonal mean")
    _in_units(axes, data, "mean")


def _power(axes: Axes, data: xr.Dataset) -> None:
    degree = data.degree.values[1:]
    if not np.isfinite(data.power.values).any():
        _unknown(axes, "Power spectrum")
        return
    _lines(axes, degree, data.isel(degree=slice(1, None)), "power", logarithmic=True)
    axes.set_xscale("log")
    axes.set_yscale("log")
    powers = data.power.values[:, 1:]
    powers = powers[powers > _FEWEST_POWER * np.nanmax(powers)]
    axes.set_ylim(powers.min() / 3, powers.max() * 3)
    axes.set_xlim(1, degree[-1])
    plain_log_ticks(axes.xaxis)
    axes.set_xlabel("spherical-harmonic degree")
    axes.set_ylabel(f"power per degree{_squared(data)}")
    axes.set_title("Power spectrum")


def _histogram(axes: Axes, data: xr.Dataset) -> None:
    edges = data.bin_edge.sel(source=_TRUTH).values
    width = edges[1] - edges[0]
    middle = edges[:-1] + width / 2
    low, high = (np.maximum(x, 0) / width for x in _range(data, "histogram"))
    values = data.histogram.values / width
    least = values[values > 0].min()
    axes.fill_between(middle, np.maximum(low, least / 2), high, **_SHADE)
    for source, value in zip(SOURCES, values, strict=True):
        axes.plot(middle, np.where(value > 0, value, np.nan), **_STYLE[source])
    axes.set_yscale("log")
    shown = middle[(values > 0).any(0)]
    axes.set_xlim(shown[0] - width, shown[-1] + width)
    axes.set_ylim(least / 2, values.max() * 2)
    units = str(data.channel_units.item())
    power = power_of_ten(float(np.abs(shown).max()))
    axes.set_xlabel(with_units("value", units, power))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(numbers(power))
    axes.set_ylabel("probability density")
    axes.set_title("Histogram")


def _annual_cycle(axes: Axes, data: xr.Dataset) -> None:
    _lines(axes, data.month.values, data, "monthly_area_mean")
    axes.set_xlim(0.5, 12.5)
    axes.set_xticks(range(1, 13), list("JFMAMJJASOND"))
    axes.set_title("Annual cycle of the area mean")
    _in_units(axes, data, "mean")


def _series(axes: Axes, data: xr.Dataset) -> None:
    trends = []
    for source in reversed(SOURCES):
        of = data.sel(source=source)
        axes.plot(of.global_series_time.values, of.global_series.values, **_STYLE[source])
        trend, error = of.global_trend.item(), of.global_trend_error.item()
        trends.append(f"{source} {trend:.2g} ± {error:.1g}" if np.isfinite(trend) else "")
    unit = str(data.attrs["trend_unit"])
    axes.set_xlabel(f"time since the start of the first run [{unit}s]")
    axes.set_title("Area mean", pad=18)
    of_unit = f"trend per {unit}: " + ", ".join(t for t in reversed(trends) if t)
    axes.text(0.5, 1.02, of_unit, transform=axes.transAxes, ha="center", fontsize=8)
    _in_units(axes, data, "mean")


def _frequencies(axes: Axes, data: xr.Dataset, band: str) -> None:
    """Draw the power of all waves of a band by frequency, eastward to the right."""
    name = "wavenumber_frequency_power"
    of = data[name].sel(band=band).isel(wavenumber=slice(1, None))
    if not np.isfinite(of.values).any():
        _unknown(axes, "Power by frequency")
        return
    for source in SOURCES:
        power = of.sel(source=source).sum("wavenumber").values
        axes.semilogy(data.frequency.values, power, **_STYLE[source])
    # The logarithms of independent wavenumbers: errors of powers add in squares.
    truth = of.sel(source=_TRUTH).values
    spread = data[name + SAMPLING].sel(band=band).isel(wavenumber=slice(1, None)).values
    total = np.nansum(truth, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = _RANGE * np.sqrt(np.nansum((truth * spread) ** 2, axis=0)) / total
    axes.fill_between(
        data.frequency.values, total * np.exp(-relative), total * np.exp(relative), **_SHADE
    )
    unit = {"day-1": "cycles per day", "year-1": "cycles per year"}[data.frequency.attrs["units"]]
    axes.set_xlabel(f"frequency [{unit}], eastward positive")
    axes.set_ylabel(f"power{_squared(data)}")
    axes.set_title(f"Waves, {band}")


def _unknown(axes: Axes, title: str) -> None:
    axes.text(0.5, 0.5, "unknown", transform=axes.transAxes, ha="center", va="center")
    axes.set_title(title)


_CURVES: tuple[tuple[tuple[str, ...], Callable[[Axes, xr.Dataset], None]], ...] = (
    (("zonal_mean",), _zonal_mean),
    (("power",), _power),
    (("histogram",), _histogram),
    (("monthly_area_mean",), _annual_cycle),
    (("global_series",), _series),
    (("wavenumber_frequency_power",), partial(_frequencies, band="30 to 60 N")),
    (("wavenumber_frequency_power",), partial(_frequencies, band="tropics, symmetric")),
)
"""Variables that a panel needs, and the function that draws it; the first ones are drawn."""
