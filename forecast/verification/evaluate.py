"""Scores of a forecast file against the store's truth, beside those of the baselines."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, CLIMATOLOGY, CONVENTIONS, INIT_TIME, LEAD_TIME
from data_prep.store.output_paths import check_output, remove
from data_prep.store.reader import Store
from forecast.inference.coordinates import TIME_STEP, TRAJECTORY_NUMBER
from forecast.inference.reader import ForecastFile
from forecast.verification import metrics
from forecast.verification.report import markdown
from forecast.verification.truth import Truth
from sphere_ops.parallel.mesh import current

MODEL, PERSISTENCE = "model", "persistence"
BASELINES = (PERSISTENCE, CLIMATOLOGY)

_BLOCK_BYTES = 32 * 2**20

Progress = Callable[[int, int, str], None]
Array = NDArray[np.floating[Any]]


def evaluate(
    forecast: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    baselines: Sequence[str] | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score a forecast, write the scores as CF netCDF and a summary in Markdown beside them.

    Anomalies are departures from the store's monthly climatology of the training years, where it
    has one; else from the training mean of the channel. Persistence then keeps the anomaly of
    the initial state, else the state. Lead times whose valid time the store does not have are
    left out; one at which a forecast had ended early has no score. The processes of a mesh share
    the forecasts, along its data axis.

    Args:
        forecast: forecast file.
        data: store with the truth: the one that the forecast started from.
        out: scores file, `.nc`; the summary has the suffix `.md`.
        baselines: `persistence`, `climatology`; those that the store allows if not given.
        progress: called with (done, total, note) as the forecasts are scored.

    Returns:
        `rmse`, `mae`, `bias`, `acc`, `relative_l2` and `activity` over (forecast, channel,
        lead_time), `skill` over (baseline, channel, lead_time), and more.

    Raises:
        ValueError: if forecast and store do not fit, or nothing can be scored.
        FileNotFoundError: if one is not there.
        FileExistsError: if an output is.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    file, store = ForecastFile(forecast), Store(data)
    file.check_fits(store)
    scores = score(file, store, baselines=baselines, progress=progress)
    if current().is_first:
        _write(scores, path)
        summary.write_text(markdown(scores), encoding="utf-8")
    return scores


def score(
    file: ForecastFile,
    store: Store,
    *,
    baselines: Sequence[str] | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """The scores of an open forecast file; see `evaluate`."""
    truth = Truth(file, store)
    names = (MODEL, *_allowed(baselines, truth))
    n, k, c = len(file.init_time), len(file.steps), len(file.channel_names)
    area = file.grid.area_weights.numpy()
    sums = {m: np.zeros((len(names), c, k)) for m in _SUMMED}
    part = current().data
    own = range(n)[part.rank :: part.ranks]
    squared_error = np.zeros((n, len(names), c, k), dtype=np.float32)
    squared_error[own] = np.nan
    activity_of_truth, count = np.zeros((c, k)), np.zeros(k, dtype=np.int32)
    block = max(1, _BLOCK_BYTES // (8 * c * file.grid.nlat * file.grid.nlon))
    for i in own:
        truth.check_start(i)
        for first in range(0, k, block):
            known = truth.known(i, slice(first, first + block))
            if not len(known):
                continue
            target, reference = truth.states(i, known), truth.reference(i, known)
            span = slice(int(known[0]), int(known[-1]) + 1)
            count[known] += 1
            activity_of_truth[:, known] += metrics.anomaly_variance(
                target, _where_known(reference, target), area
            ).T
            for j, name in enumerate(names):
                field = (
                    file.states(i, span)[known - known[0]]
                    if name == MODEL
                    else truth.baseline(name, i, known)
                )
                pieces = _pieces(field, target, reference, area)
                squared_error[i, j][:, known] = pieces["rmse"].T
                for m in _SUMMED:
                    sums[m][j][:, known] += pieces[m].T
        progress(i + 1, n, "")
    for sum_of_own in (count, activity_of_truth, squared_error, *sums.values()):
        current().sum_samples(torch.from_numpy(sum_of_own))  # in place
    if not count.any():
        raise ValueError(
            f"store {store.path} has no state at any valid time of {file.path}; give the store "
            "that the forecast started from, or forecast fewer steps"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {m: total / np.where(count, count, np.nan) for m, total in sums.items()}
        activity_of_truth = np.sqrt(activity_of_truth / np.where(count, count, np.nan))
    for m in ("rmse", "activity"):  # the root comes last
        means[m] = np.sqrt(means[m])
    return _dataset(file, truth, names, means, squared_error, activity_of_truth, count)


_SUMMED = {
    "rmse": "Root mean square error",
    "mae": "Mean absolute error",
    "bias": "Mean error, forecast minus truth",
    "acc": "Anomaly correlation coefficient",
    "relative_l2": "Norm of the error over norm of the truth's anomaly",
    "activity": "Standard deviation of the anomaly",
}
"""The scores that are means over the forecasts, the roots of two of them taken last."""


def _pieces(field: Array, target: Array, reference: Array, area: Array) -> dict[str, Array]:
    """What is averaged over the forecasts, each (k, c)."""
    return {
        "rmse": metrics.squared_error(field, target, area),
        "mae": metrics.absolute_error(field, target, area),
        "bias": metrics.mean_error(field, target, area),
        "acc": metrics.anomaly_correlation(field, target, reference, area),
        "relative_l2": metrics.relative_error(field, target, reference, area),
        "activity": metrics.anomaly_variance(field, _where_known(reference, target), area),
    }


def _where_known(reference: Array, target: Array) -> Array:
    """The reference at every point, missing where the truth is."""
    return np.where(np.isfinite(target), reference, np.nan)


def _allowed(baselines: Sequence[str] | None, truth: Truth) -> tuple[str, ...]:
    if baselines is None:
        return BASELINES if truth.has_climatology else (PERSISTENCE,)
    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}; expected {' or '.join(BASELINES)}")
    if CLIMATOLOGY in baselines and not truth.has_climatology:
        raise ValueError(
            f"store {truth.store.path} has no climatology (it takes gridded files with at least "
            "two years in the training split); compare with persistence alone"
        )
    return tuple(baselines)


def _dataset(
    file: ForecastFile,
    truth: Truth,
    names: tuple[str, ...],
    means: Mapping[str, Array],
    squared_error: Array,
    activity_of_truth: Array,
    count: NDArray[np.int32],
) -> xr.Dataset:
    dims = ("forecast", CHANNEL, LEAD_TIME)
    scores = xr.Dataset({m: (dims, means[m], {"long_name": _SUMMED[m]}) for m in _SUMMED})
    for m in ("acc", "relative_l2"):
        scores[m].attrs["units"] = "1"
    if len(names) > 1:
        skill = [metrics.skill(means["rmse"][0], of_baseline) for of_baseline in means["rmse"][1:]]
        meaning = {"long_name": "1 - rmse of the model / rmse of the baseline", "units": "1"}
        scores["skill"] = (("baseline", *dims[1:]), np.stack(skill), meaning)
        baseline = np.array(names[1:], dtype=object)
        scores = scores.assign_coords(baseline=("baseline", baseline, {"long_name": "Baseline"}))
    scores["activity_of_truth"] = (
        dims[1:],
        activity_of_truth,
        {"long_name": "Standard deviation of the truth's anomaly"},
    )
    scores["squared_error"] = (
        (file.member_dim, *dims),
        squared_error,
        {"long_name": "Mean squared error of each forecast"},
    )
    scores["n_forecasts"] = (
        (LEAD_TIME,),
        count,
        {"long_name": "Number of forecasts scored", "units": "1"},
    )
    variables = [file.dataset[name] for name in file.channel_names]
    scores = scores.assign_coords(
        forecast=("forecast", np.array(names, dtype=object), {"long_name": "What was scored"}),
        channel=(CHANNEL, np.array(file.channel_names, dtype=object), {"long_name": "Variable"}),
        channel_long_name=(
            CHANNEL,
            np.array([v.attrs.get("long_name", v.name) for v in variables], dtype=object),
            {"long_name": "Name of the variable"},
        ),
        channel_units=(
            CHANNEL,
            np.array([v.attrs.get("units", "1") for v in variables], dtype=object),
            {"long_name": "Units of the variable, and of its rmse, mae, bias and activity"},
        ),
        lead_time=file.dataset[LEAD_TIME],
        init_time=file.dataset[INIT_TIME],
    )
    if file.trajectory is not None:
        scores = scores.assign_coords({TRAJECTORY_NUMBER: file.dataset[TRAJECTORY_NUMBER]})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    start = "the state"
    reference = "the training mean of the channel"
    if truth.has_climatology:
        start = "the anomaly of the initial state"
        reference = "the store's monthly climatology of the training years"
    scores.attrs = {
        "Conventions": CONVENTIONS,
        "title": f"Scores of the forecast {file.path.name}",
        "source": str(file.dataset.attrs.get("source", "")),
        "history": f"{now} forecast evaluate {file.path.name} against store "
        f"{truth.store.path.name}",
        "comment": "Means over the sphere are area-weighted; the root of rmse and activity comes "
        f"after the mean over the forecasts. Anomalies are departures from {reference}; "
        f"persistence keeps {start}. A lead time at which a forecast had ended early, being no "
        "longer finite, has no score.",
        TIME_STEP: file.time_step.label,
    }
    return scores


def _write(scores: xr.Dataset, path: Path) -> None:
    """Write beside the output and rename."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    # CF forbids missing values in coordinates, for which xarray would declare a fill value.
    encoding: dict[Hashable, dict[str, Any]] = {
        name: {"_FillValue": None} for name in scores.coords if scores[name].dtype != "O"
    }
    encoding[INIT_TIME]["dtype"] = "f8"  # CF 1.8 has no 64-bit integers
    try:
        scores.to_netcdf(partial, engine="netcdf4", encoding=encoding)
        check_output(path, (".nc",))
        partial.rename(path)
    finally:
        remove(partial)
