"""Scores of a forecast file and of its baselines against the truth of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CLIMATOLOGY
from data_prep.store.outputs import check_output, written_beside
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.references import References
from forecast.verification.report import markdown
from forecast.verification.score_table import RMSE, SCORES
from forecast.verification.scores_file import make_dataset, write
from forecast.verification.scoring import Scorer, TrueState, Values
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
    climatology: str | Path | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score a forecast; write the scores as CF netCDF, and a summary in Markdown beside them.

    Anomalies are departures from the monthly climatology of the store's training years. A store
    without a climatology gives departures from the mean state of its training split. A store
    without either gives no anomaly correlation, unless `climatology` names another source.
    Persistence keeps the anomaly of the initial state if there is a climatology, else the state.
    Channels with a moving mask are scored at the points that the forecast, the truth and the
    reference have at the valid time, and, if persistence is a baseline, the initial state.
    Lead times whose valid time is not in the store are left out. A lead time at which a forecast
    had ended early has no score. Several processes share the forecasts along the axis `data`.

    Args:
        forecast: Forecast file.
        data: Store with the truth, from which the forecast started.
        out: Scores file, `.nc`. The summary has the suffix `.md`.
        baselines: Names out of `persistence` and `climatology`; all that are possible if None.
        climatology: Package or store whose climatology and means replace those of the store.
        progress: Function that is called with (done, total, note) after each forecast.

    Returns:
        Scores of the table `SCORES` over (forecast, channel, lead_time), `skill` over (baseline,
        channel, lead_time), and more.

    Raises:
        ValueError: If forecast and store do not fit, or one is damaged.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If an output exists.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    file, store = ForecastFile(forecast), Store(data)
    store.reader.in_memory = False  # few states are needed, each of them once
    file.check_fits(store)
    scores = score(file, store, baselines=baselines, climatology=climatology, progress=progress)
    if current().is_first:
        write(scores, path)
        with written_beside(summary) as scratch:
            scratch.write_text(markdown(scores), encoding="utf-8")
    return scores


def score(
    file: ForecastFile,
    store: Store,
    *,
    baselines: Sequence[str] | None = None,
    climatology: str | Path | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score an open forecast file; see `evaluate`."""
    if climatology is None:
        references = References.of_store(store, file)
    else:
        references = References.open(climatology, file)
    truth = Truth(file, store, references)
    names = (MODEL, *_allowed(baselines, references))
    n, k, c = len(file.init_time), len(file.steps), len(file.channel_names)
    scorer = Scorer(truth)
    sums = {name: np.zeros((len(names), c, k)) for name in SCORES}
    part = current().data
    own = range(n)[part.rank :: part.ranks]
    squared_error = np.zeros((n, len(names), c, k), dtype=np.float32)
    squared_error[own] = np.nan
    activity_of_truth, n_scored, n_points = (np.zeros((c, k)) for _ in range(3))
    count = np.zeros(k, dtype=np.int32)
    for i in own:
        for position, state in _states(truth, i):
            true = scorer.true(i, position)
            if position == 0:
                start = true
            # At the start, channels with a moving mask lack points in the file as in the store.
            lacks_points = state if file.steps[position] == 0 else None
            compared = (true, start) if PERSISTENCE in names else (true,)
            at_valid, *rest = scorer.common(*compared, field=lacks_points)
            at_start = rest[0] if rest else start
            has_points = at_valid.points.count > 0
            count[position] += 1
            n_scored[:, position] += has_points
            n_points[:, position] += at_valid.points.count
            activity_of_truth[:, position] += np.where(has_points, at_valid.activity, 0.0)
            for j, name in enumerate(names):
                values = _values(scorer, name, state, at_start, at_valid)
                squared_error[i, j, :, position] = values[RMSE]
                for score_name, value in values.items():
                    sums[score_name][j, :, position] += np.where(has_points, value, 0.0)
                if name == MODEL:
                    complete = np.isfinite(values[RMSE]) | ~has_points
                    file.check_complete(complete, i, position)
        progress(i + 1, n, "")
    for sum_of_own in (
        count, n_scored, n_points, activity_of_truth, squared_error, *sums.values()
    ):  # fmt: skip
        current().sum_samples(torch.from_numpy(sum_of_own))  # in place
    known = np.where(n_scored, n_scored, np.nan)
    means = {name: SCORES[name].reduce(total, known) for name, total in sums.items()}
    spread_of_truth = SCORES["activity"].reduce(activity_of_truth, known)
    n_points /= known
    return make_dataset(truth, names, means, squared_error, spread_of_truth, count, n_points)


def _states(truth: Truth, forecast_index: int) -> Iterator[tuple[int, Array]]:
    """Read the states of a forecast at the lead times that are in the store, in their order.

    Yields:
        Position of the lead time, and state (c, nlat, nlon).

    Raises:
        ValueError: If the forecast did not start from the store, or the file is damaged.
    """
    file = truth.file
    n_positions, n_channels = len(file.steps), len(file.channel_names)
    block = max(1, _BLOCK_BYTES // (4 * n_channels * file.grid.nlat * file.grid.nlon))
    for first in range(0, n_positions, block):
        known = truth.known(forecast_index, slice(first, first + block))
        if first and not len(known):
            continue
        last = int(known[-1]) if len(known) else first
        states = file.states(forecast_index, slice(first, last + 1))
        if first == 0:
            truth.check_start(forecast_index, states[0])
            file.check_initial(states[0], forecast_index)
        for position in known:
            yield int(position), states[position - first]


def _values(scorer: Scorer, name: str, state: Array, start: TrueState, true: TrueState) -> Values:
    """Score the state of the model, or of a baseline."""
    if name == MODEL:
        return scorer.model(state, true)
    return scorer.persistence(start, true) if name == PERSISTENCE else scorer.climatology(true)


def _allowed(baselines: Sequence[str] | None, references: References) -> tuple[str, ...]:
    """Return the baselines to score, after a check that they are possible."""
    if baselines is None:
        return BASELINES if references.climatology is not None else (PERSISTENCE,)
    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}; expected {' or '.join(BASELINES)}")
    if CLIMATOLOGY in baselines and references.climatology is None:
        raise ValueError(
            f"{references.name} has no climatology, which needs gridded files with at least two "
            "years in the training split; give persistence as the only baseline"
        )
    return tuple(baselines)
