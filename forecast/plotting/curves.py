"""Curves: scores over lead time, and power spectra."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from configs.layout import CHANNEL
from configs.timestep import TimeStep
from data_prep.store.output_paths import check_output
from data_prep.store.reader import Store
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reader import ForecastFile, open_output, steps_of
from forecast.plotting.figure import (
    COLOURS,
    FAINT,
    INK,
    SUFFIXES,
    new_figure,
    numbers,
    power_of_ten,
    pretty_units,
    save,
    with_units,
)
from forecast.verification import metrics
from forecast.verification.evaluate import MODEL
from forecast.verification.truth import Truth

Array = NDArray[np.floating[Any]]

_MOST_CHANNELS = 6
_MOST_FORECASTS = 32  # a mean spectrum does not change much beyond
_BOOTSTRAP = 400
_NOISE = 1e-10  # power, relative to the peak, that rounding in single precision may be behind


def plot_scores(
    scores: str | Path, out: str | Path, *, variables: Sequence[str] | None = None
) -> None:
    """Draw rmse and anomaly correlation of a forecast and its baselines over lead time.

    Args:
        scores: scores file.
        out: picture: `.png`, `.pdf` or `.svg`.
        variables: which to draw; the first six if not given.

    Raises:
        ValueError: if it is no scores file, or a variable is not in it.
        FileNotFoundError: if there is none.
        FileExistsError: if the output is there.
    """
    check_output(out, SUFFIXES)
    path = Path(scores)
    data = open_output(path, "scores", "forecast evaluate")
    if "rmse" not in data or TIME_STEP not in data.attrs:
        raise ValueError(f"{path} is not a scores file; make one with `forecast evaluate`")
    chosen = _choose([str(c) for c in data[CHANNEL].values], variables, path)
    data = data.isel(lead_time=np.flatnonzero(data.n_forecasts.values > 0))
    lead, unit = _axis(data)
    figure = new_figure(max(4.2 * len(chosen), 5.5), 6.2)
    panels = figure.subplots(2, len(chosen), sharex=True, squeeze=False)
    for column, name in enumerate(chosen):
        of_channel = data.sel(channel=name)
        units = str(of_channel.channel_units.item())
        top, bottom = panels[:, column]
        for label in data.forecast.values:
            of_forecast = of_channel.sel(forecast=label)
            style = _style(str(label))
            top.plot(lead, of_forecast.rmse, label=str(label), **style)
            low, high = _interval(of_forecast.squared_error.values)
            top.fill_between(lead, low, high, color=style["color"], alpha=0.15, linewidth=0)
            if of_forecast.acc.notnull().any():
                bottom.plot(lead, of_forecast.acc, **style)
        top.set_title(str(of_channel.channel_long_name.item()), color=INK, fontsize=11)
        top.set_ylim(bottom=0)
        power = power_of_ten(top.get_ylim()[1])
        top.set_ylabel(with_units("rmse", units, power))
        top.yaxis.set_major_formatter(numbers(power))
        bottom.set_ylabel("anomaly correlation")
        bottom.set_ylim(min(0.0, bottom.get_ylim()[0]), 1.02)
        bottom.set_xlabel(f"lead time [{unit}]")
        for axes in (top, bottom):
            _tidy(axes)
            axes.set_xlim(0, lead[-1])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 3, 6, 10]))
    panels[0, 0].legend(frameon=False)
    n = int(data.n_forecasts.max())
    shade = ", shading: 95 % of resampled means" if n >= 5 else ""
    title = f"{data.attrs['title']}\n{n} forecast{'s' * (n != 1)}{shade}"
    figure.suptitle(title, color=INK, fontsize=11)
    save(figure, out)


def plot_spectrum(
    forecast: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str | int] | None = None,
) -> None:
    """Draw the mean power spectra of forecast and truth, and their ratio.

    Fields that are missing somewhere are drawn as anomalies, zero where they are missing.

    Args:
        forecast: forecast file.
        data: store with the truth.
        out: picture: `.png`, `.pdf` or `.svg`.
        variables: which to draw; the first six if not given.
        leads: lead times to draw; four of them if not given.

    Raises:
        ValueError: if file and store do not fit, or a variable or lead time is not there.
        FileNotFoundError: if a file is not there.
        FileExistsError: if the output is.
    """
    check_output(out, SUFFIXES)
    file = ForecastFile(forecast)
    store = Store(data)
    file.check_fits(store)
    truth = Truth(file, store)
    chosen = _choose(list(file.channel_names), variables, file.path)
    positions = _lead_positions(file, leads)
    of_forecast, of_truth = _mean_spectra(file, truth, positions)  # (k, c, l), (c, l)
    figure = new_figure(max(4.2 * len(chosen), 5.5), 6.6)
    panels = figure.subplots(
        2, len(chosen), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [2, 1]}
    )
    degree = np.arange(1, of_truth.shape[-1])
    colours = colormaps["viridis"](np.linspace(0.0, 0.85, len(positions)))
    for column, name in enumerate(chosen):
        c = file.channel_names.index(name)
        attributes = file.dataset[name].attrs
        top, bottom = panels[:, column]
        top.loglog(degree, of_truth[c, 1:], color=INK, linewidth=2.2, label="truth")
        for k, position in enumerate(positions):
            label = file.lead_label(position)
            power, true = of_forecast[k, c, 1:], of_truth[c, 1:]
            top.loglog(degree, power, color=colours[k], linewidth=1.4, label=label)
            ratio = np.where(true > _NOISE * true.max(), power / true.clip(min=1e-300), np.nan)
            bottom.semilogx(degree, ratio, color=colours[k], linewidth=1.4)
        bottom.axhline(1, color=INK, linewidth=0.8)
        _limit(top, bottom, of_truth[c, 1:], of_forecast[:, c, 1:])
        masked = "" if truth.complete(c) else "\nanomaly, 0 where missing"
        title = attributes.get("long_name", name) + masked
        top.set_title(title, color=INK, fontsize=11)
        units = pretty_units(attributes.get("units", "1"))
        squared = f"{units}²" if units.replace("°", "").isalpha() else f"({units})²"
        top.set_ylabel(f"power per degree [{squared}]" if units else "power per degree")
        bottom.set_ylabel("forecast / truth")
        bottom.set_xlabel("spherical-harmonic degree")
        for axes in (top, bottom):
            _tidy(axes)
            axes.set_xlim(1, degree[-1])
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
    panels[0, 0].legend(frameon=False, title="lead time")
    n = min(len(file.init_time), _MOST_FORECASTS)
    title = f"Mean power spectra of {file.path.name} ({n} of {len(file.init_time)} forecasts)"
    figure.suptitle(title, color=INK, fontsize=11)
    save(figure, out)


def _mean_spectra(
    file: ForecastFile, truth: Truth, positions: Sequence[int]
) -> tuple[Array, Array]:
    """Spectra of the forecast at some lead times (k, c, l), and of the truth (c, l).

    Forecasts that ended before a lead time are left out there.
    """
    n = len(file.init_time)
    members = np.unique(np.linspace(0, n - 1, min(n, _MOST_FORECASTS)).round().astype(int))
    lmax = file.grid.exact_lmax
    shape = (len(positions), len(file.channel_names), lmax)
    total, count = np.zeros(shape), np.zeros((len(positions), 1, 1))
    total_of_truth, count_of_truth = np.zeros(shape[1:]), 0
    for i in members:
        alive = [k for k, p in enumerate(positions) if file.steps[p] <= file.last_step[i]]
        of_alive = np.array([positions[k] for k in alive], dtype=np.int64)
        states = [file.states(i, slice(p, p + 1)) for p in of_alive]
        if states:
            total[alive] += _spectra(np.concatenate(states), truth, i, of_alive)
            count[alive] += 1
        known = truth.known(i, slice(None))
        if not len(known):
            continue
        if np.isin(positions, known).all():
            known = np.array(positions, dtype=np.int64)
        else:  # the forecast goes beyond the store
            known = known[np.unique(np.linspace(0, len(known) - 1, 4).round().astype(int))]
        total_of_truth += _spectra(truth.states(i, known), truth, i, known).sum(0)
        count_of_truth += len(known)
    if not count_of_truth:
        raise ValueError(
            f"store {truth.store.path} has no state at the lead times drawn of {file.path}; give "
            "the store that the forecast started from, or shorter lead times"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / count, total_of_truth / count_of_truth


def _spectra(states: Array, truth: Truth, member: int, positions: NDArray[np.int64]) -> Array:
    """Of states (k, c, nlat, nlon), masked channels as anomalies: (k, c, l)."""
    complete = np.array([truth.complete(c) for c in range(states.shape[1])])[:, None, None]
    anomaly = np.nan_to_num(states - truth.reference(member, positions))
    return metrics.spectrum(np.where(complete, states, anomaly), truth.file.grid)


def _lead_positions(file: ForecastFile, leads: Sequence[str | int] | None) -> list[int]:
    if leads:
        return [file.find_lead(lead) for lead in leads]
    last = len(file.steps) - 1
    if last < 1:
        return [0]
    spread = np.geomspace(1, last, 4).round().astype(int)
    return [int(p) for p in np.unique(spread)]


def _choose(known: list[str], wanted: Sequence[str] | None, path: Path) -> list[str]:
    for name in wanted or ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(
                f"{path} has no variable {name!r}; it has {', '.join(known)}"
                + (f" (nearest: {near[0]})" if near else "")
            )
    return list(wanted) if wanted else known[:_MOST_CHANNELS]


def _axis(data: xr.Dataset) -> tuple[Array, str]:
    """Lead times as numbers, and their unit."""
    time_step = TimeStep.parse(data.attrs[TIME_STEP])
    steps = steps_of(data.lead_time, time_step)
    if time_step.months is not None:
        return steps * float(time_step.months), "months"
    assert time_step.seconds is not None
    days = steps * time_step.seconds / 86400
    if days[-1] > 5 or time_step.seconds % 86400 == 0:
        return days, "days"
    return (days * 24, "h") if days[-1] >= 1 / 12 else (days * 1440, "min")


def _interval(squared_error: Array) -> tuple[Array, Array]:
    """Where 95 % of the rmse lie if other starts of the same kind had been drawn.

    Args:
        squared_error: of each forecast (n, k).
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
    if label == MODEL:
        return {"color": COLOURS[label], "linewidth": 2.4}
    # Dashes on top: where the two agree, both are seen.
    return {"color": COLOURS.get(label, INK), "linewidth": 1.4, "linestyle": "--", "zorder": 3}


def _limit(top: Axes, bottom: Axes, of_truth: Array, of_forecast: Array) -> None:
    """Keep rounding noise below the spectrum, and a wild ratio, from filling the picture."""
    powers = np.concatenate([of_truth[None], of_forecast])
    powers = powers[powers > _NOISE * of_truth.max()]  # leaves out what is missing, too
    if len(powers):
        top.set_ylim(powers.min() / 3, powers.max() * 3)
    bottom.set_ylim(0, float(np.clip(bottom.get_ylim()[1], 1.2, 3)))


def _tidy(axes: Axes) -> None:
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
