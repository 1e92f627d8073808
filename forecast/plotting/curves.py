"""Curves: scores over lead time, and power spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from configs.layout import CHANNEL
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
from configs.timestep import TimeStep
from data_prep.store.outputs import check_output
from data_prep.store.reader import Store
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reader import ForecastFile, open_output, steps_of
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.mean_spectra import MeanSpectra, mean_spectra
from forecast.plotting.selection import choose, lead_axis
from forecast.verification.evaluate import MODEL
from forecast.verification.regions import GLOBAL
from forecast.verification.score_table import OF_EACH, RMSE, SCORES, Score
from forecast.verification.scores_file import REGION
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]

_MOST_CHANNELS = 6
_ROWS = [RMSE, "acc"]
_BOOTSTRAP = 400
_LONGEST_LABEL = 40
_MODEL_WIDTH = 2.4  # points; the baselines' lines are thinner
_TRUTH: dict[str, Any] = {"linewidth": 5, "alpha": 0.3, "solid_capstyle": "butt"}


@picture_style()
def plot_scores(
    scores: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
) -> None:
    """Draw scores of a forecast and its baselines over lead time.

    Args:
        scores: Scores file.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one column each; the first six if not given.
        rows: Scores to draw, one row each; rmse and acc if not given.

    Raises:
        ValueError: If the file is no scores file, or a variable or score is not in it.
        FileNotFoundError: If the scores file does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    path = Path(scores)
    data = open_output(path, "scores", "forecast evaluate")
    if RMSE not in data or TIME_STEP not in data.attrs or REGION not in data.dims:
        raise ValueError(f"{path} is not a scores file; make one with `forecast evaluate`")
    data = data.sel({REGION: GLOBAL})
    channels = [str(c) for c in data[CHANNEL].values]
    chosen = choose("variable", channels, variables, path) or channels[:_MOST_CHANNELS]
    names = choose("score", [s for s in SCORES if s in data], rows, path) or _ROWS
    data = data.isel(lead_time=np.flatnonzero(data.n_forecasts.values > 0))
    time_step = TimeStep.parse(data.attrs[TIME_STEP])
    lead, unit = lead_axis(time_step, steps_of(data.lead_time, time_step))
    figure = new_figure(max(4.2 * len(chosen), 5.5), 3.1 * len(names))
    panels = figure.subplots(len(names), len(chosen), sharex=True, squeeze=False)
    for column, channel in zip(panels.T, chosen, strict=True):
        of_channel = data.sel(channel=channel)
        for axes, name in zip(column, names, strict=True):
            _draw_score(axes, of_channel, SCORES[name], lead)
            axes.set_xlim(0, lead[-1])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 3, 6, 10]))
        column[0].set_title(str(of_channel.channel_long_name.item()))
        column[-1].set_xlabel(f"lead time [{unit}]")
    panels[0, 0].legend()
    n = int(data.n_forecasts.max())
    shade = ", shading: 95 % of resampled means" if n >= 5 and RMSE in names else ""
    title = f"{data.attrs['title']}\n{n} forecast{'s' * (n != 1)}{shade}"
    figure.suptitle(title)
    save(figure, out)


def _draw_score(axes: Axes, of_channel: xr.Dataset, score: Score, lead: Array) -> None:
    """Draw a score of one channel for all forecasts, and for rmse its uncertainty."""
    for label in of_channel.forecast.values:
        of_forecast = of_channel.sel(forecast=label)
        style = _style(str(label))
        axes.plot(lead, of_forecast[score.name], label=str(label), **style)
        if score.name == RMSE:
            low, high = _interval(of_forecast[RMSE + OF_EACH].values)
            axes.fill_between(lead, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if of_channel[score.name].isnull().all():
        reason = "no climatology and no mean state\nto depart from"
        axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center")
    # The axis includes 0, and 1 if that is a perfect score. Only negative values get a margin.
    negative = bool((of_channel[score.name] < 0).any())
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if negative else 0.0)
    if score.perfect == 1:
        axes.set_ylim(top=1.02)
    if score.dimensionless:
        long_name = score.long_name[0].lower() + score.long_name[1:]
        axes.set_ylabel(long_name if len(long_name) < _LONGEST_LABEL else score.name)
        return
    power = power_of_ten(max(map(abs, axes.get_ylim())))
    axes.set_ylabel(with_units(score.name, str(of_channel.channel_units.item()), power))
    axes.yaxis.set_major_formatter(numbers(power))


@picture_style()
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
    file = ForecastFile(forecast)
    store = Store(data)
    file.check_fits(store)
    truth = Truth(file, store)
    channels = list(file.channel_names)
    chosen = choose("variable", channels, variables, file.path) or channels[:_MOST_CHANNELS]
    positions = _lead_positions(file, leads)
    spectra = mean_spectra(file, truth, positions)
    figure = new_figure(max(4.2 * len(chosen), 5.5), 6.6)
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
    save(figure, out)


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


def _interval(squared_error: Array) -> tuple[Array, Array]:
    """Return the bounds (k,) of the central 95 % of the rmse of resampled forecasts (bootstrap).

    Args:
        squared_error: Mean squared error of each forecast, (n, k).
    """
    n = len(squared_error)
    if n < 5:
        nothing = np.full(squared_error.shape[1], np.nan)
        return nothing, nothing
    drawn = np.random.default_rng(0).integers(0, n, (_BOOTSTRAP, n))
    counts = np.stack([np.bincount(d, minlength=n) for d in drawn]).astype(float)  # (draw, n)
    known = np.isfinite(squared_error)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = counts @ np.where(known, squared_error, 0) / (counts @ known)  # (draw, k)
    enough = known.sum(0) >= 5
    root = np.sqrt(np.where(enough, means, np.nan))
    low, high = np.full((2, root.shape[1]), np.nan)
    low[enough], high[enough] = np.nanpercentile(root[:, enough], [2.5, 97.5], axis=0)
    return low, high


def _style(label: str) -> dict[str, Any]:
    """Return the line style of the model or of a baseline."""
    if label == MODEL:
        return {"color": COLOURS[label], "linewidth": _MODEL_WIDTH}
    # Dashes are drawn on top, so that both lines are visible where they agree.
    return {"color": COLOURS.get(label, INK), "linestyle": "--", "zorder": 3}
