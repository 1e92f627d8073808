"""Scores of a forecast file and of its baselines against the truth of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CLIMATOLOGY
from data_prep.store.outputs import check_output, written_beside
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import DEFAULT, conventions_named
from forecast.verification.reading import blocks, read_ahead
from forecast.verification.references import References
from forecast.verification.regions import GLOBAL, NAMED, Region, parse_regions
from forecast.verification.report import markdown
from forecast.verification.score_table import RMSE
from forecast.verification.scores_file import make_dataset, write
from forecast.verification.scoring import Scorer, Values
from forecast.verification.totals import Totals
from forecast.verification.true_states import TrueState
from forecast.verification.truth import Truth
from sphere_ops.parallel.mesh import current

MODEL, PERSISTENCE = "model", "persistence"
BASELINES = (PERSISTENCE, CLIMATOLOGY)

Progress = Callable[[int, int, str], None]
Array = NDArray[np.floating[Any]]


def evaluate(
    forecast: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    baselines: Sequence[str] | None = None,
    climatology: str | Path | None = None,
    regions: Sequence[str] = (),
    conventions: str = DEFAULT.name,
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
        regions: Regions to score beside the globe; see `regions.parse_regions`.
        conventions: Name of the conventions; see `conventions.CONVENTIONS`.
        progress: Function that is called with (done, total, note) after each forecast.

    Returns:
        Scores of the table `SCORES` over (forecast, region, channel, lead_time), `skill` over
        (baseline, region, channel, lead_time), and more; see `scores_file`.

    Raises:
        ValueError: If forecast and store do not fit, or one is damaged.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If an output exists.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    chosen = parse_regions(regions)
    file, store = ForecastFile(forecast), Store(data)
    store.reader.in_memory = False  # few states are needed, each of them once
    file.check_fits(store)
    if climatology is None:
        references = References.of_store(store, file)
    else:
        references = References.open(climatology, file)
    truth = Truth(file, store, references, conventions_named(conventions))
    scores = score(truth, chosen, baselines=baselines, progress=progress)
    if current().is_first:
        write(scores, path)
        with written_beside(summary) as scratch:
            scratch.write_text(markdown(scores), encoding="utf-8")
    return scores


def score(
    truth: Truth,
    regions: Sequence[Region] = (NAMED[GLOBAL],),
    *,
    baselines: Sequence[str] | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score a forecast file against its truth; see `evaluate`."""
    file = truth.file
    names = (MODEL, *_allowed(baselines, truth.references))
    vectors = truth.vectors
    weights = truth.region_weights(regions)
    scorer = Scorer(truth, weights, vectors)
    n_channels = len(file.channel_names) + len(vectors.names)
    n = len(file.init_time)
    part = current().data
    own = range(n)[part.rank :: part.ranks]
    shape = n, len(regions), n_channels, len(file.steps)
    totals = Totals(len(names), shape, own, vectors)
    for i, positions, states in read_ahead(blocks(truth, own)):
        start = scorer.states(*truth.key(i, 0))
        for position, state in zip(positions, states.reshape(*states.shape[:2], -1), strict=True):
            true = scorer.states(*truth.key(i, int(position)))
            # At the start, channels with a moving mask lack points in the file as in the store.
            lacks_points = state if file.steps[position] == 0 else None
            compared = (true, start) if PERSISTENCE in names else (true,)
            at_valid, *rest = scorer.states.common(*compared, field=lacks_points)
            at_start = rest[0] if rest else start
            totals.add_truth(int(position), at_valid)
            for j, name in enumerate(names):
                values = _values(scorer, name, state, at_start, at_valid)
                totals.add(i, j, int(position), values, at_valid)
                if name == MODEL:
                    of_channels = values[RMSE][: len(file.channel_names)]
                    complete = (np.isfinite(of_channels) | (at_valid.count == 0)).all(1)
                    file.check_complete(complete, i, int(position))
        progress(i + 1, n, "")
    totals.over_processes()
    return make_dataset(truth, [region.name for region in regions], names, totals)


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
