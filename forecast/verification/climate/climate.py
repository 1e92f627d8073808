"""Climate of a long forecast against the truth and the truth's own sampling variability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs import layout
from data_prep.store.outputs import check_output, written_beside
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.climate.climate_file import Contents, make_dataset, write
from forecast.verification.climate.comparison import Comparison, compare
from forecast.verification.climate.diagnostic import Diagnostic
from forecast.verification.climate.diagnostics.wavenumber_frequency import (
    FEWEST_STATES,
    MOST_STATES,
)
from forecast.verification.climate.report import markdown
from forecast.verification.climate.setting import Setting
from forecast.verification.climate.sources import Source, forecast_source, truth_source
from forecast.verification.climate.table import DIAGNOSTICS
from sphere_ops.grid import EARTH_RADIUS

_LONG_TERM = 2.0  # years, from which trends are per year
_SPREADS = 5.0  # standard deviations in the range of histograms without known extremes
_SAMPLE = 32  # states that give the range if there is no training split

Progress = Callable[[int, int, str], None]
Array = NDArray[np.floating[Any]]


def climate(
    forecast: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    spinup: str | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Diagnose the climate of a forecast; write it as CF netCDF, and a summary in Markdown.

    All forecasts and members of the file are realisations of one climate, and so are the
    trajectories of a store. The truth is all of the store, independent of the valid times of the
    forecast, but only the months of the year that the forecast covers. It is thinned to the
    interval of the forecast. Fields are read once, in blocks; memory does not depend on the length
    of either.

    Args:
        forecast: Forecast file.
        data: Store with the truth.
        out: Climate file, `.nc`. The summary has the suffix `.md`.
        split: Split of the store; all of its times if None.
        spinup: Time after the start of each forecast, and of each trajectory of the store, that is
            left out, as "10d" or "6mo"; only initial states of the forecast if None.
        progress: Function that is called with (done, total, note) after each block.

    Returns:
        Statistics of forecast and truth, and their distances.

    Raises:
        ValueError: If forecast and store do not fit, nothing is left to compare, or an input is
            damaged.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If an output exists.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    file, store = ForecastFile(forecast), Store(data)
    file.check_fits(store)
    result = diagnose(file, store, split=split, spinup=spinup, progress=progress)
    write(result, path)
    with written_beside(summary) as scratch:
        scratch.write_text(markdown(result), encoding="utf-8")
    return result


def diagnose(
    file: ForecastFile,
    store: Store,
    *,
    split: str | None = None,
    spinup: str | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Diagnose the climate of an open forecast file; see `climate`."""
    model, interval = forecast_source(file, spinup)
    part = store.select(channels=file.channel_names, time_step=interval)
    part.reader.in_memory = False
    months = None if store.has_trajectories else model.months
    truth = truth_source(part, split, spinup, months)
    setting = _setting(file, store, part, model, truth)
    obstacles = {name: kind.obstacle(setting) for name, kind in DIAGNOSTICS.items()}
    chosen = {name: kind for name, kind in DIAGNOSTICS.items() if not obstacles[name]}
    total = model.n_states + truth.n_states
    found: list[list[Diagnostic]] = []
    done = 0
    for source, label in ((model, "forecast"), (truth, "truth")):
        diagnostics = [kind(setting, source.n_groups) for kind in chosen.values()]
        for block in source.blocks(setting):
            for diagnostic in diagnostics:
                diagnostic.update(block)
            done += len(block)
            progress(done, total, label)
        found.append(diagnostics)
    compared: list[tuple[Diagnostic, Comparison]] = [
        (b, compare(a, b, model.n_states, truth.group_sizes)) for a, b in zip(*found, strict=True)
    ]
    notes = [f"{name}: left out, {reason}" for name, reason in obstacles.items() if reason]
    notes += _notes(setting, model, truth, months)
    facts = {"split": split or "all", "spinup": spinup or "none"}
    return make_dataset(Contents(file, store, setting, model, truth, compared, notes, facts))


def _setting(
    file: ForecastFile, store: Store, part: Store, model: Source, truth: Source
) -> Setting:
    """Return the facts that forecast and truth share; `part` has the channels of the forecast."""
    valid = np.ones((len(file.channel_names), *file.grid.shape), dtype=bool)
    if part.mask is not None:
        valid &= part.mask.numpy()
    valid &= file.mask
    for name, of_channel in zip(file.channel_names, valid, strict=True):
        if not of_channel.any():
            raise ValueError(
                f"{name} has no point that {file.path} and store {store.path} have in common; give "
                "the store that the forecast started from"
            )
    chosen = [store.channel_names.index(name) for name in file.channel_names]
    low, high = _range(store, chosen, truth)
    seasonal = not store.has_trajectories and len(model.months) == len(truth.months) == 12
    calendar = part.time_step.is_calendar
    return Setting(
        grid=file.grid,
        channels=part.channels,
        interval=part.time_step,
        valid=valid,
        reference=_reference(store, chosen),
        low=low,
        high=high,
        longest=min(model.longest, truth.longest),
        segment=_segment(min(model.longest_in_groups, truth.longest_in_groups)),
        seasonal=seasonal,
        long_term=calendar or min(model.years, truth.years) >= _LONG_TERM,
        static={name: field.numpy() for name, field in part.static.items()},
        radius=float(store.attributes.get(layout.RADIUS, EARTH_RADIUS)),
    )


def _segment(most: int) -> int:
    """Return the length of segments: a power of 2, or 0 if there are too few states."""
    length = MOST_STATES
    while length > most:
        length //= 2
    return length if length >= FEWEST_STATES else 0


def _reference(store: Store, chosen: list[int]) -> Array | None:
    """Return the mean state of the training split of a store, (c, nlat, nlon)."""
    if layout.TIME_MEAN not in store.statistics:
        return None
    return store.statistics[layout.TIME_MEAN][chosen].double().numpy()


def _range(store: Store, chosen: list[int], truth: Source) -> tuple[Array, Array]:
    """Return the range of the channels over the training split, or over a few states, (c,) each."""
    if layout.MINIMUM in store.statistics and layout.MAXIMUM in store.statistics:
        low, high = (
            store.statistics[name][chosen].double().numpy()
            for name in (layout.MINIMUM, layout.MAXIMUM)
        )
    elif layout.STD in store.statistics:
        mean, std = (
            store.statistics[name][chosen].double().numpy() for name in (layout.MEAN, layout.STD)
        )
        low, high = mean - _SPREADS * std, mean + _SPREADS * std
    else:
        run = truth.runs[0]
        states = run.read(slice(0, min(_SAMPLE, len(run.time))))
        low = np.nanmin(states, axis=(0, 2, 3)).astype(np.float64)
        high = np.nanmax(states, axis=(0, 2, 3)).astype(np.float64)
    # A constant channel gets a range of some width.
    least = 1e-6 * np.maximum(np.abs(low), np.abs(high)) + 1e-30
    return low - least, high + least


def _notes(setting: Setting, model: Source, truth: Source, months: set[int] | None) -> list[str]:
    """Return sentences on what limits the comparison."""
    notes = []
    if truth.n_groups == 1:
        notes.append("the truth has too few states to be halved: there is no sampling variability")
    if months is not None and len(months) < 12:
        names = ", ".join(str(m + 1) for m in sorted(months))
        notes.append(f"the forecast covers the months {names}; the truth is that of these months")
    elif setting.seasonal and truth.years < 2:
        notes.append(
            "the truth has less than two years: its halves differ by season, and the ratios are "
            "too small"
        )
    if setting.seasonal and model.years < 1:
        notes.append("the forecast's runs are shorter than a year")
    for c in np.flatnonzero(~setting.known):
        notes.append(
            f"{setting.names[c]} has missing points and the store no mean state of a training "
            "split: it has no spectra"
        )
    return notes
