"""Curves: scores over lead time, and power spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from configs.layout import CHANNEL, LEAD_TIME
from configs.style import (
    COLOURS,
    INK,
    SEQUENCE,
    new_figure,
    numbers,
    picture_style,
    plain_log_ticks,
    power_of_ten,
    pretty_units,
    with_units,
)
from data_prep.store.outputs import check_output
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.mean_spectra import MeanSpectra, mean_spectra
from forecast.plotting.scores.files import FORECAST, MOST_CHANNELS, Meaning, ScoresFile
from forecast.plotting.selection import choose, lead_ticks
from forecast.verification.evaluate import MODEL
from forecast.verification.regions import GLOBAL
from forecast.verification.score_table import RMSE
from forecast.verification.scores_file import REGION
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]

SPREAD = "spread"
_ROWS = (RMSE, "crps", "acc")
_LONGEST_LABEL = 40
_MODEL_WIDTH = 2.4  # points; the baselines' lines are thinner
_TRUTH: dict[str, Any] = {"linewidth": 5, "alpha": 0.3, "solid_capstyle": "butt"}


def plot_scores(
    scores: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    region: str | None = None,
) -> None:
    """Draw scores of a forecast and its baselines over lead time.

    The intervals of the file are shaded. Of an ensemble, the spread is drawn beside the rmse of its
    mean: of a reliable one both are equal.

    Args:
        scores: Scores file.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one column each; the first six if not given.
        rows: Scores to draw, one row each; rmse and acc if not given, and of an ensemble crps.
        region: Region; the globe if not given.

    Raises:
        ValueError: If the file is no scores file, or a variable, score or region is not in it.
        FileNotFoundError: If the scores file does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    save(draw_scores(ScoresFile(scores), variables=variables, rows=rows, region=region), out)


@picture_style()
def draw_scores(
    file: ScoresFile,
    *,
    variables: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    region: str | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_scores`; `size` is its width and height, inches."""
    known = file.score_names
    if RMSE not in known:
        raise ValueError(f"{file.path} is not a scores file; make one with `forecast evaluate`")
    chosen, region = file.chosen_channels(variables), file.region(region)
    names = choose("score", known, rows, file.path) or [n for n in _ROWS if n in known]
    data = file.data.sel({REGION: region}).isel({LEAD_TIME: file.scored})
    lead, unit = file.lead(file.scored)
    figure = new_figure(*(size or (max(4.2 * len(chosen), 5.5), 3.1 * len(names))))
    panels = figure.subplots(len(names), len(chosen), sharex=True, squeeze=False)
    for column, channel in zip(panels.T, chosen, strict=True):
        of_channel = data.sel({CHANNEL: channel})
        for axes, name in zip(column, names, strict=True):
            _draw_score(axes, of_channel, file.meaning(name), lead, file.units(channel))
            axes.set_xlim(0, lead[-1])
            axes.xaxis.set_major_locator(lead_ticks(unit))
        column[0].set_title(file.long_name(channel))
        column[-1].set_xlabel(f"lead time [{unit}]")
    panels[0, 0].legend()
    n = int(data.n_forecasts.max())
    bounds = [data[name + "_lower"] for name in names if name + "_lower" in data]
    shade = ""
    if any(bound.notnull().any() for bound in bounds):
        shade = f", shading: {bounds[0].attrs.get('confidence', 0.95) * 100:g} % intervals"
    where = "" if region == GLOBAL else f", {region}"
    figure.suptitle(f"{data.attrs['title']}{where}\n{n} forecast{'s' * (n != 1)}{shade}")
    return figure


def _draw_score(
    axes: Axes, of_channel: xr.Dataset, score: Meaning, lead: Array, units: str
) -> None:
    """Draw a score of one channel for all forecasts, and its intervals."""
    for label in of_channel[FORECAST].values:
        of_forecast = of_channel.sel({FORECAST: label})
        if score.name != RMSE and of_forecast[score.name].isnull().all():
            continue  # of an ensemble alone
        style = _style(str(label))
        axes.plot(lead, of_forecast[score.name], label=str(label), **style)
        if score.name + "_lower" in of_forecast:
            low, high = (of_forecast[score.name + end] for end in ("_lower", "_upper"))
            axes.fill_between(lead, low, high, color=style["color"], alpha=0.15, linewidth=0)
        if score.name == RMSE and str(label) == MODEL and SPREAD in of_forecast:
            style = {**style, "linewidth": 1.4, "linestyle": ":"}
            axes.plot(lead, of_forecast[SPREAD], label="spread of the members", **style)
    if of_channel[score.name].isnull().all():
        reason = "no climatology and no mean state\nto depart from"
        axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center")
    # The axis includes 0, and 1 if that is a perfect score. Only negative values get a margin.
    negative = bool((of_channel[score.name] < 0).any())
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if negative else 0.0)
    if score.perfect == 1:
        above = bool((of_channel[score.name] > 1.02).any())
        axes.set_ylim(top=None if above else 1.02)
        axes.axhline(1, color=INK, linewidth=0.8)
    if score.dimensionless:
        long_name = score.long_name[0].lower() + score.long_name[1:]
        axes.set_ylabel(long_name if len(long_name) < _LONGEST_LABEL else score.name)
        return
    power = power_of_ten(max(map(abs, axes.get_ylim())))
    axes.set_ylabel(with_units(score.name, units, power))
    axes.yaxis.set_major_formatter(numbers(power))


def plot_spectrum(
    forecast: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str | int] | None = None,
) -> None:
    """Draw the mean power spectra of forecast and truth at the same lead times, and their ratio.

    A lead time whose valid time is not in the store is drawn without truth and ratio. The spectra
    of fields with missing points are those of their anomalies, set to zero at these points.

    Args:
        forecast: Forecast file.
        data: Store with the truth.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one column each; the first six if not given.
        leads: Lead times to draw; four of them if not given.

    Raises:
        ValueError: If file and store do not fit, or a variable or lead time is not in the file.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    file, store = ForecastFile(forecast), Store(data)
    save(draw_spectrum(file, store, variables=variables, leads=leads), out)


@picture_style()
def draw_spectrum(
    file: ForecastFile,
    store: Store,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str | int] | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_spectrum`; `size` is its width and height, inches."""
    file.check_fits(store)
    truth = Truth(file, store)
    channels = list(file.channel_names)
    chosen = choose("variable", channels, variables, file.path) or channels[:MOST_CHANNELS]
    positions = _lead_positions(file, leads)
    spectra = mean_spectra(file, truth, positions)
    figure = new_figure(*(size or (max(4.2 * len(chosen), 5.5), 6.6)))
    panels = figure.subplots(
        2, len(chosen), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [2, 1]}
    )
    for column, name in enumerate(chosen):
        c = file.channel_names.index(name)
        attributes = file.dataset[name].attrs
        top, bottom = panels[:, column]
        _draw_spectra(top, bottom, spectra, c)
        masked = "" if truth.complete(c) else "\nanomaly, 0 where missing"
        top.set_title(attributes.get("long_name", name) + masked)
        units = pretty_units(attributes.get("units", "1"))
        squared = f"{units}²" if units.replace("°", "").isalpha() else f"({units})²"
        top.set_ylabel(f"power per degree [{squared}]" if units else "power per degree")
        bottom.set_ylabel("forecast / truth")
        bottom.set_xlabel("spherical-harmonic degree")
    panels[0, 0].legend(**_legend_of_spectra(file, positions, spectra))
    title = f"Mean power spectra of {file.path.name}"
    drawn, n = int(spectra.n_forecasts.max()), len(file.init_time)
    figure.suptitle(f"{title} ({drawn} of {n} forecast{'s' * (n != 1)})")
    return figure


def _draw_spectra(top: Axes, bottom: Axes, spectra: MeanSpectra, c: int) -> None:
    """Draw the spectra of a channel, the truth as a broad pale line, and their ratio."""
    degree = np.arange(1, spectra.truth.shape[-1])
    ratio = spectra.ratio[:, c, 1:]
    for k, colour in enumerate(_lead_colours(len(ratio))):
        if np.isfinite(ratio[k]).any():
            top.loglog(degree, spectra.truth[k, c, 1:], color=colour, **_TRUTH)
            bottom.semilogx(degree, ratio[k], color=colour)
        top.loglog(degree, spectra.forecast[k, c, 1:], color=colour)
    bottom.axhline(1, color=INK, linewidth=0.8)
    powers = np.concatenate([spectra.truth[:, c, 1:], spectra.forecast[:, c, 1:]])
    # The limits leave out rounding errors below the spectrum, and ratios far from 1.
    powers = powers[powers > spectra.negligible[c]]
    if len(powers):
        top.set_ylim(powers.min() / 3, powers.max() * 3)
    bottom.set_ylim(0, float(np.clip(bottom.get_ylim()[1], 1.2, 3)))
    for axes in (top, bottom):
        axes.set_xlim(1, degree[-1])
        plain_log_ticks(axes.xaxis)


def _legend_of_spectra(
    file: ForecastFile, positions: Sequence[int], spectra: MeanSpectra
) -> dict[str, Any]:
    """Return the legend: the colour of each lead time, and the line of the truth."""
    most, handles = spectra.n_forecasts.max(), []
    for k, colour in enumerate(_lead_colours(len(positions))):
        label, n = file.lead_label(positions[k]), int(spectra.n_forecasts[k])
        label += "" if n == most else f", {n} forecast{'s' * (n != 1)}"
        label += "" if np.isfinite(spectra.truth[k]).any() else ", no truth"
        handles.append(Line2D([], [], color=colour, label=label))
    handles.append(Line2D([], [], color=INK, label="truth, same lead time", **_TRUTH))
    return {"handles": handles, "title": "forecast, lead time"}


def _lead_colours(n: int) -> Array:
    """Return one colour per lead time."""
    return colormaps[SEQUENCE](np.linspace(0.0, 0.85, n))


def _lead_positions(file: ForecastFile, leads: Sequence[str | int] | None) -> list[int]:
    """Return the positions of the given lead times, or of four of the file."""
    if leads:
        return [file.find_lead(lead) for lead in leads]
    last = len(file.steps) - 1
    if last < 1:
        return [0]
    spread = np.geomspace(1, last, 4).round().astype(int)
    return [int(p) for p in np.unique(spread)]


def _style(label: str) -> dict[str, Any]:
    """Return the line style of the model or of a baseline."""
    if label == MODEL:
        return {"color": COLOURS[label], "linewidth": _MODEL_WIDTH}
    # Dashes are drawn on top, so that both lines are visible where they agree.
    return {"color": COLOURS.get(label, INK), "linestyle": "--", "zorder": 3}
