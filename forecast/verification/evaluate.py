"""Scores of a forecast file and of its baselines against the truth of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from configs.layout import CLIMATOLOGY
from data_prep.store.outputs import check_output, written_beside
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import DEFAULT
from forecast.verification.events import Fractions, Thresholds
from forecast.verification.open_truth import open_truth
from forecast.verification.precipitation import climatologies
from forecast.verification.regions import GLOBAL, NAMED, Region, parse_regions
from forecast.verification.report import markdown
from forecast.verification.sampled.diagnostics import SampledDiagnostics
from forecast.verification.score_table import SCORES, SEEPS
from forecast.verification.scores_file import make_dataset, write
from forecast.verification.scoring.comparing import (
    BASELINES,
    MODEL,
    PERSISTENCE,
    WITH_FRACTIONS,
    Comparison,
)
from forecast.verification.scoring.ensemble_scores import EnsembleScorer
from forecast.verification.scoring.fraction_scores import FractionScorer
from forecast.verification.scoring.precipitation_scores import PrecipitationScorer
from forecast.verification.scoring.reading import pieces, read_ahead
from forecast.verification.scoring.scorer import Scorer
from forecast.verification.scoring.totals import Totals
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
    compared = open_truth(
        ForecastFile(forecast), data, truth, climatology=climatology, conventions=conventions
    )
    scores = score(
        compared,
        chosen,
        baselines=baselines,
        thresholds=thresholds,
        fractions=fractions,
        dry_threshold=dry_threshold,
        spectra=spectra,
        progress=progress,
    )
    scores = with_intervals(scores, intervals or Settings())
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
    thresholds: Sequence[str] = (),
    fractions: Sequence[str] = (),
    dry_threshold: float | None = None,
    spectra: bool = False,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Score a forecast file against its truth; see `evaluate`."""
    file, vectors = truth.file, truth.vectors
    names = (MODEL, *_allowed(baselines, truth))
    scorer = Scorer(truth, truth.region_weights(regions), vectors)
    limits = Thresholds.parse(thresholds, file.channel_names, truth.store)
    members = EnsembleScorer(scorer.sums, file.n_members, limits)
    events = Fractions.parse(fractions, file.channel_names, truth.store)
    of_fractions = FractionScorer(scorer.sums, file.grid, events)
    seasons, notes = climatologies(truth, dry_threshold)
    n = len(file.init_time)
    part = current().data
    own = range(n)[part.rank :: part.ranks]
    shape = n, len(regions), len(file.channel_names) + len(vectors.names), len(file.steps)
    of_seeps = PrecipitationScorer(scorer.sums, seasons, shape[2])
    with_fractions = [j for j, name in enumerate(names) if name in WITH_FRACTIONS]
    totals = Totals(
        len(names),
        shape,
        own,
        vectors,
        SCORES | of_seeps.scores,
        members.scores | of_fractions.scores,
        dict.fromkeys(members.scores, [0]) | dict.fromkeys(of_fractions.scores, with_fractions),
        members.sizes | of_fractions.sizes,
    )
    sampled = SampledDiagnostics(truth) if spectra else None
    comparison = Comparison(names, scorer, members, of_seeps, of_fractions, totals, sampled)
    for piece in read_ahead(pieces(truth, own)):
        comparison.add(piece)
        if piece.is_last:
            progress(piece.forecast_index + 1, n, "")
    totals.finish()
    scores = make_dataset(truth, [region.name for region in regions], names, totals, limits, events)
    if seasons:
        scores[SEEPS.name].attrs["comment"] = "; ".join(s.description for s in seasons.values())
    for note in notes:
        scores = with_note(scores, note)
    if sampled is None:
        return scores
    sampled.finish()
    scores = scores.merge(sampled.dataset(shape[2]), combine_attrs="override")
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
