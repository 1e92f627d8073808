"""Scores of a forecast file and of its baselines against the truth of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import xarray as xr

from configs.layout import CHANNEL, CLIMATOLOGY
from data_prep.store.outputs import check_output, written_beside
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import DEFAULT
from forecast.verification.events import Fractions, Thresholds
from forecast.verification.open_truth import open_truth
from forecast.verification.precipitation import climatologies
from forecast.verification.regions import GLOBAL, NAMED, Region, parse_regions
from forecast.verification.report import markdown
from forecast.verification.score_table import SEEPS
from forecast.verification.scores_file import make_dataset, write
from forecast.verification.scoring.accumulator import Accumulator, Choices
from forecast.verification.scoring.cluster import Cluster
from forecast.verification.scoring.comparing import BASELINES, MODEL, PERSISTENCE
from forecast.verification.significance.intervals import Settings, with_intervals, with_note
from forecast.verification.truth import Truth
from sphere_ops.parallel.mesh import current

Progress = Callable[[int, int, str], None]


def evaluate(
    forecast: str | Path,
    data: str | Path | None,
    out: str | Path,
    *,
    truth: str | Path | None = None,
    baselines: Sequence[str] | None = None,
    climatology: str | Path | None = None,
    regions: Sequence[str] = (),
    conventions: str = DEFAULT.name,
    thresholds: Sequence[str] = (),
    fractions: Sequence[str] = (),
    dry_threshold: float | None = None,
    spectra: bool = True,
    intervals: Settings | None = None,
    scheduler: str | None = None,
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
        data: Store that the forecast started from, which is checked. It has the truth unless
            `truth` is given, and the climatology unless `climatology` is.
        out: Scores file, `.nc`. The summary has the suffix `.md`.
        truth: Store with the truth that the forecast need not have started from: it may have other
            times, a longer step, or more channels.
        baselines: Names out of `persistence` and `climatology`; all that are possible if None.
        climatology: Package or store whose climatology and means replace those of the store.
        regions: Regions to score beside the globe; see `regions.parse_regions`.
        conventions: Name of the conventions; see `conventions.CONVENTIONS`.
        thresholds: Thresholds of events; see `events.Thresholds.parse`.
        fractions: Events whose fractions are compared in neighbourhoods; see
            `events.Fractions.parse`.
        dry_threshold: Precipitation in a step below which SEEPS counts it as dry, mm; see
            `precipitation.climatologies`.
        spectra: True for spectra, coherence and conserved quantities of some of the forecasts.
        intervals: Settings of the intervals of the scores; the default ones if None.
        scheduler: Address of a dask scheduler, whose workers score the forecasts. They open all
            inputs under the same absolute paths.
        progress: Function that is called with (done, total, note) after each forecast, or
            with a scheduler after each part of the forecasts.

    Returns:
        Scores of the table `SCORES` over (forecast, region, channel, lead_time), `skill` over
        (baseline, region, channel, lead_time), and more; see `scores_file`.

    Raises:
        ValueError: If forecast and store do not fit, or one is damaged.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If an output exists.
        ConnectionError: If workers of the scheduler died.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    chosen = parse_regions(regions)
    inputs = {"data": data, "truth": truth, "climatology": climatology}
    cluster = None
    if scheduler is not None:
        there = {n: None if path is None else Path(path).absolute() for n, path in inputs.items()}
        opened = partial(_opened, Path(forecast).absolute(), **there, conventions=conventions)
        cluster = Cluster(scheduler, opened)
    scores = score(
        _opened(forecast, **inputs, conventions=conventions),
        chosen,
        baselines=baselines,
        thresholds=thresholds,
        fractions=fractions,
        dry_threshold=dry_threshold,
        spectra=spectra,
        cluster=cluster,
        progress=progress,
    )
    scores = with_intervals(scores, intervals or Settings())
    if current().is_first:
        write(scores, path)
        with written_beside(summary) as scratch:
            scratch.write_text(markdown(scores), encoding="utf-8")
    return scores


def _opened(
    forecast: str | Path,
    *,
    data: str | Path | None,
    truth: str | Path | None,
    climatology: str | Path | None,
    conventions: str,
) -> Truth:
    """Open a forecast file and its truth; see `open_truth`."""
    return open_truth(ForecastFile(forecast), data, truth, climatology, conventions)


def score(
    truth: Truth,
    regions: Sequence[Region] = (NAMED[GLOBAL],),
    *,
    baselines: Sequence[str] | None = None,
    thresholds: Sequence[str] = (),
    fractions: Sequence[str] = (),
    dry_threshold: float | None = None,
    spectra: bool = False,
    cluster: Cluster | None = None,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score a forecast file against its truth; see `evaluate`.

    With a cluster, its workers score the forecasts, and their sums are added here.
    """
    file, n = truth.file, len(truth.file.init_time)
    names = (MODEL, *_allowed(baselines, truth))
    limits = Thresholds.parse(thresholds, file.channel_names, truth.store)
    events = Fractions.parse(fractions, file.channel_names, truth.store)
    seasons, notes = climatologies(truth, dry_threshold)
    choices = Choices(names, tuple(regions), limits, events, seasons, spectra)
    mesh = current().data
    own = range(n)[mesh.rank :: mesh.ranks]
    accumulator = Accumulator(truth, choices, own)
    if cluster is None:
        accumulator.accumulate(lambda forecast_index: progress(forecast_index + 1, n, ""))
    else:
        for found in cluster.partial_sums(choices, own):
            accumulator.add(found)
            progress(found.part[-1] + 1, n, "")
    accumulator.finish()
    totals, sampled = accumulator.totals, accumulator.sampled
    scores = make_dataset(truth, [region.name for region in regions], names, totals, limits, events)
    if seasons:
        scores[SEEPS.name].attrs["comment"] = "; ".join(s.description for s in seasons.values())
    for note in notes:
        scores = with_note(scores, note)
    if sampled is None:
        return scores
    diagnostics = sampled.dataset(scores.sizes[CHANNEL])
    scores = scores.merge(diagnostics, combine_attrs="override")
    for name in sampled.without_spectrum:
        scores = with_note(scores, f"{name} has no spectrum, since it lacks points")
    return scores


def _allowed(baselines: Sequence[str] | None, truth: Truth) -> tuple[str, ...]:
    """Return the baselines to score, after a check that they are possible."""
    references = truth.references
    possible = {PERSISTENCE: truth.has_starts, CLIMATOLOGY: references.has_climatology}
    if baselines is None:
        return tuple(name for name in BASELINES if possible[name])
    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}; expected {' or '.join(BASELINES)}")
    if CLIMATOLOGY in baselines and not possible[CLIMATOLOGY]:
        raise ValueError(
            f"{references.name} has no climatology, which needs gridded files with at least two "
            "years in the training split; give persistence as the only baseline"
        )
    if PERSISTENCE in baselines and not possible[PERSISTENCE]:
        raise ValueError(
            f"truth {truth.store.path} lacks initial times of {truth.file.path}, which persistence "
            "keeps; give climatology as the only baseline, or a truth with these times"
        )
    return tuple(baselines)
