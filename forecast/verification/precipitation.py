"""Precipitation of a store: its unit, its dry threshold, and its climatology for SEEPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from configs.time.calendar import Times
from configs.time.step import TimeStep
from configs.variables import Variable
from data_prep.store.climatology import Climatology, month_number
from data_prep.store.reader import Store
from forecast.verification.ensembles.precipitation import (
    MAX_DRY,
    MIN_DRY,
    PrecipitationClimatology,
)
from forecast.verification.truth import Truth
from sphere_ops.memory import available_memory

_AMOUNTS = {"m": 1e-3, "mm": 1.0, "kg m-2": 1.0}
_RATES = {"m s-1": 1e-3, "mm s-1": 1.0, "kg m-2 s-1": 1.0}
"""Values of 1 mm, and of 1 mm in a second, by unit."""
_DAY = 86400

DRY_DAY, DRY_HOURS = 0.25, 0.1
"""Dry thresholds of WeatherBench 2, mm: of 24 h, and of 6 h."""

MOST_STATES = 2048
"""States of a climatology; three months then have about 500, and more hardly change a quantile."""
MIN_STATES = 100
"""States that a climatology needs, and that three months need for a wet threshold of their own."""
_MIN_WET = 10
_MOST_BYTES, _MOST_SHARE = 2**30, 0.25
_BAND_BYTES = 32 * 2**20

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SeasonalPrecipitation:
    """Climatology of precipitation as a function of time.

    Attributes:
        of_year: Climatology of all states, over points (p,).
        monthly: Wet thresholds by month, (12, 1, 1, p); None to take that of all states.
        description: Sentence for the scores file.
    """

    of_year: PrecipitationClimatology
    monthly: Climatology | None
    description: str

    def at(self, time: Times) -> PrecipitationClimatology:
        """Return the climatology at a time, (1,)."""
        if self.monthly is None:
            return self.of_year
        return replace(self.of_year, wet_threshold=self.monthly.at(time)[0, 0, 0].numpy())


def is_precipitation(variable: Variable) -> bool:
    """Return True for amounts and mean rates of precipitation, by their standard name."""
    return variable.standard_name.endswith(("precipitation_amount", "precipitation_flux"))


def one_mm(variable: Variable, time_step: TimeStep) -> float | None:
    """Return the value of 1 mm in a step, in the unit of a variable; None if it has none.

    Args:
        variable: Amount in a step, or mean rate.
        time_step: Interval of the values.
    """
    if not is_precipitation(variable):
        return None
    if variable.units in _AMOUNTS:
        return _AMOUNTS[variable.units]
    if variable.units in _RATES and time_step.seconds is not None:
        return _RATES[variable.units] / time_step.seconds
    return None


def climatologies(
    truth: Truth, dry_threshold: float | None = None
) -> tuple[dict[int, SeasonalPrecipitation], tuple[str, ...]]:
    """Return the climatologies of the channels with precipitation, and notes on missing ones.

    They are made of states of the training split of the store of the references, or of the store
    that the forecast started from if the references are those of a package.

    Args:
        truth: Truth with the references.
        dry_threshold: Precipitation in a step below which it is dry, mm. If None, `DRY_DAY` for
            steps of a day and longer ones in days, and `DRY_HOURS` for shorter ones.

    Returns:
        Climatologies by the index of the channel, and notes.

    Raises:
        ValueError: If a dry threshold is given that is not positive, or there is no precipitation.
    """
    store = truth.references.store or truth.origin or truth.store
    variables = [store.channels[store.channel_names.index(n)] for n in truth.file.channel_names]
    channels = [c for c, variable in enumerate(variables) if is_precipitation(variable)]
    if dry_threshold is not None:
        _check(dry_threshold, bool(channels), truth)
    notes, limits = [], {}
    for c in channels:
        reason = _obstacle(store, variables[c], truth, dry_threshold)
        if reason is None:
            limits[c] = dry_threshold or _default_threshold(store.time_step)
        else:
            notes.append(f"no SEEPS of {variables[c].name}: {reason}")
    found: dict[int, SeasonalPrecipitation] = {}
    if not limits:
        return found, tuple(notes)
    samples, times = _samples(store, [variables[c].name for c in limits])
    for (c, limit), of_channel in zip(limits.items(), samples, strict=True):
        made = _climatology(of_channel, times, store, variables[c], limit, truth.valid[c].ravel())
        if made.of_year.usable.any():
            found[c] = made
        else:
            notes.append(
                f"no SEEPS of {variables[c].name}: no point has a dry fraction between "
                f"{MIN_DRY:g} and {MAX_DRY:g}, for {limit:g} mm in {store.time_step}"
            )
    return found, tuple(notes)


def _check(dry_threshold: float, has_precipitation: bool, truth: Truth) -> None:
    """Raise an error for a dry threshold that is none, or that nothing needs."""
    if not 0 < dry_threshold < np.inf:
        raise ValueError(f"dry threshold {dry_threshold:g} mm; expected a positive number, as 0.25")
    if not has_precipitation:
        raise ValueError(
            f"dry threshold {dry_threshold:g} mm, but {truth.file.path} has no precipitation among "
            f"{', '.join(truth.file.channel_names)}; leave the threshold out"
        )


def _default_threshold(time_step: TimeStep) -> float:
    """Return the dry threshold of a step, mm."""
    seconds = time_step.seconds
    assert seconds is not None
    return DRY_DAY if seconds >= _DAY else DRY_HOURS


def _obstacle(
    store: Store, variable: Variable, truth: Truth, dry_threshold: float | None
) -> str | None:
    """Return the reason for which a channel has no SEEPS; None if there is none."""
    if store.time_step.seconds is None and dry_threshold is None:
        return "months have no usual dry threshold; --dry-threshold gives one in mm"
    if one_mm(variable, store.time_step) is None:
        known = ", ".join((*_AMOUNTS, *_RATES))
        return f"its unit in {store.path} is {variable.units!r}; expected one of {known}"
    if store.time_step != truth.store.time_step:
        return (
            f"the climatology of {store.path} is of steps of {store.time_step}, the truth has "
            f"{truth.store.time_step}; --climatology names a store with the same steps"
        )
    n = len(_training_states(store))
    if n < MIN_STATES:
        has = f"{n} training states" if n else "no training split"
        return (
            f"store {store.path} has {has}, and its climatology needs {MIN_STATES} states; "
            "--climatology names a store that has"
        )
    return None


def _training_states(store: Store) -> NDArray[np.int64]:
    """Return the arguments of `Store.state` of all training states, (n, 2)."""
    train = np.flatnonzero(store.split == "train")
    steps = np.arange(len(store.time) if store.has_trajectories else 1)
    return np.stack(np.meshgrid(train, steps, indexing="ij"), -1).reshape(-1, 2)


def _samples(store: Store, names: Sequence[str]) -> tuple[NDArray[np.float32], Times]:
    """Read training states drawn at random with a fixed seed: all if there are few.

    Returns:
        Fields (c, n, p), and their valid times (n,).
    """
    states = _training_states(store)
    n_points = store.grid.nlat * store.grid.nlon
    budget = min(_MOST_BYTES, _MOST_SHARE * available_memory())
    most = max(MIN_STATES, min(MOST_STATES, int(budget / (4 * n_points * len(names)))))
    # Evenly spaced states could all be of the same hour of the day.
    n = min(len(states), most)
    chosen = states[np.sort(np.random.default_rng(0).choice(len(states), n, replace=False))]
    channels = [store.channel_names.index(name) for name in names]
    fields = np.empty((len(names), n, n_points), dtype=np.float32)
    for i, (index, step) in enumerate(chosen.tolist()):
        fields[:, i] = store.state(index, step).numpy()[channels].reshape(len(names), -1)
    return fields, np.array([store.valid_time(index, step) for index, step in chosen.tolist()])


def _climatology(
    samples: NDArray[np.float32],
    times: Times,
    store: Store,
    variable: Variable,
    limit: float,
    valid: NDArray[np.bool_],
) -> SeasonalPrecipitation:
    """Return the climatology of one channel.

    Args:
        samples: States, (n, p).
        times: Valid times, (n,).
        store: Store of the states.
        variable: Variable of the channel.
        limit: Dry threshold, mm.
        valid: Points that are scored, (p,).
    """
    unit = one_mm(variable, store.time_step)
    assert unit is not None
    n, n_points = samples.shape
    month = month_number(times)
    windows = [np.isin(month, [(m + d) % 12 for d in (-1, 0, 1)]) for m in range(12)]
    by_month = all(window.sum() >= MIN_STATES for window in windows)
    dry, wet = np.empty(n_points), np.empty(n_points)
    of_months = np.empty((12 if by_month else 0, n_points), dtype=np.float32)
    width = max(1, _BAND_BYTES // (8 * n))
    for first in range(0, n_points, width):
        band = slice(first, first + width)
        part = PrecipitationClimatology.of(samples[:, band], limit * unit)
        dry[band], wet[band] = part.dry_fraction, part.wet_threshold
        for m in range(len(of_months)):
            x = samples[windows[m], band]
            of_month = PrecipitationClimatology.of(x, limit * unit).wet_threshold
            enough = (x >= limit * unit).sum(0) >= _MIN_WET
            of_months[m, band] = np.where(enough, of_month, part.wet_threshold)
    of_year = PrecipitationClimatology(np.where(valid, dry, np.nan), wet, limit * unit)
    monthly = torch.from_numpy(of_months)[:, None, None]
    season = "by month, each with its neighbours" if by_month else "of all times of the year"
    return SeasonalPrecipitation(
        of_year,
        Climatology(monthly, store.time_step) if by_month else None,
        f"{variable.name}: a step of {store.time_step} with less than {limit:g} mm is dry; wet "
        f"threshold {season}, of {n} training states of {store.path.name}; dry fraction between "
        f"{MIN_DRY:g} and {MAX_DRY:g} at {of_year.usable.sum()} of {valid.sum()} points",
    )
