"""Comparison of two forecasts, or of two scores files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_prep.store.outputs import check_output, written_beside
from forecast.inference.reader import ForecastFile
from forecast.inference.reading.open_file import open_output
from forecast.verification.conventions import DEFAULT
from forecast.verification.evaluate import Progress, score
from forecast.verification.open_truth import open_truth
from forecast.verification.regions import parse_regions
from forecast.verification.score_table import OF_EACH, RMSE
from forecast.verification.scores_file import write
from forecast.verification.significance.comparison_report import markdown
from forecast.verification.significance.intervals import Settings
from forecast.verification.significance.pairing import common_starts, differences, starts_of
from forecast.verification.truth import Truth
from sphere_ops.parallel.mesh import current

_SCORES_FILE = "scores file", "forecast evaluate"


def compare(
    a: str | Path,
    b: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    truth: str | Path | None = None,
    climatology: str | Path | None = None,
    regions: Sequence[str] = (),
    conventions: str = DEFAULT.name,
    thresholds: Sequence[str] = (),
    fractions: Sequence[str] = (),
    dry_threshold: float | None = None,
    settings: Settings | None = None,
    false_discovery: bool = False,
    progress: Progress = lambda done, total, note: None,
) -> xr.Dataset:
    """Compare two forecasts; write the differences as netCDF, and a summary in Markdown beside.

    Both forecasts are scored against the same truth at the points that both have. Two scores files
    of `evaluate` are compared as they are.

    Args:
        a: First forecast or scores file.
        b: Second forecast or scores file.
        out: File of the differences, `.nc`. The summary has the suffix `.md`.
        data: Store that the forecasts started from; not needed for scores files.
        truth: Store with the truth, if it is another one.
        climatology: Package or store whose climatology and means replace those of the store.
        regions: Regions to score beside the globe; see `regions.parse_regions`.
        conventions: Name of the conventions; see `conventions.CONVENTIONS`.
        thresholds: Thresholds of events; see `events.Thresholds.parse`.
        fractions: Events whose fractions are compared in neighbourhoods; see
            `events.Fractions.parse`.
        dry_threshold: Precipitation in a step below which SEEPS counts it as dry, mm.
        settings: Settings of the intervals.
        false_discovery: True for significance by the false discovery rate.
        progress: Function that is called with (done, total, note) after each start.

    Returns:
        Differences; see `pairing.differences`.

    Raises:
        ValueError: If the forecasts do not fit each other or the store, or one is damaged.
        FileNotFoundError: If an input does not exist.
        FileExistsError: If an output exists.
    """
    path = check_output(out, (".nc",))
    summary = check_output(path.with_suffix(".md"), (".md",))
    names = str(a), str(b)
    kinds = [_is_scores_file(Path(name)) for name in names]
    if all(kinds):
        given = climatology, truth, dry_threshold
        if regions or thresholds or fractions or any(x is not None for x in given):
            raise ValueError(
                f"{names[0]} and {names[1]} are scores files, which have their truth, regions and "
                "thresholds; leave these out, or give the forecasts"
            )
        first, second = (open_output(Path(name), *_SCORES_FILE) for name in names)
    elif any(kinds):
        raise ValueError(
            f"{names[kinds.index(True)]} has scores and {names[kinds.index(False)]} is a forecast; "
            "give two forecasts, or two scores files"
        )
    else:
        truths = _truths(names, data, truth, climatology, conventions)
        chosen, lengths = parse_regions(regions), [len(t.file.init_time) for t in truths]
        first, second = (
            score(
                held,
                chosen,
                baselines=(),
                thresholds=thresholds,
                fractions=fractions,
                dry_threshold=dry_threshold,
                progress=_after(progress, before, sum(lengths)),
            )
            for held, before in zip(truths, (0, lengths[0]), strict=True)
        )
    found = differences(
        first, second, names, settings or Settings(), false_discovery=false_discovery
    )
    if current().is_first:
        text = markdown(found)
        write(found, path)
        with written_beside(summary) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return found


def _is_scores_file(path: Path) -> bool:
    """Return True for a file of `forecast evaluate`."""
    with open_output(path, "forecast", "forecast rollout") as data:
        return RMSE + OF_EACH in data.variables


def _truths(
    names: tuple[str, str],
    data: str | Path | None,
    truth: str | Path | None,
    climatology: str | Path | None,
    conventions: str,
) -> list[Truth]:
    """Return the truths of two forecasts at the points that both have.

    Raises:
        ValueError: If the forecasts differ in grid or kind, or do not fit the store.
    """
    first, second = (ForecastFile(name) for name in names)
    facts: tuple[tuple[str, Callable[[ForecastFile], object]], ...] = (
        ("the grid is", lambda file: str(file.grid)),
        ("the starts are along", lambda file: file.forecast_dim),
    )
    for what, fact in facts:
        if fact(first) != fact(second):
            raise ValueError(
                f"forecasts {first.path} and {second.path} cannot be compared: {what} "
                f"{fact(first)} against {fact(second)}; give forecasts of the same kind on the "
                "same grid"
            )
    starts = [starts_of(file.init_time, file.trajectory) for file in (first, second)]
    common_starts(starts[0], starts[1], names)
    return [
        open_truth(file, data, truth, climatology, conventions, _points_of(other, file))
        for file, other in ((first, second), (second, first))
    ]


def _points_of(other: ForecastFile, file: ForecastFile) -> NDArray[np.bool_]:
    """Return the mask of another forecast for the channels of a forecast, (c, nlat, nlon)."""
    points = np.ones_like(file.mask)
    for c, name in enumerate(file.channel_names):
        if name in other.channel_names:
            points[c] = other.mask[other.channel_names.index(name)]
    return points


def _after(progress: Progress, before: int, total: int) -> Progress:
    """Return a function that reports progress as a part of more work."""

    def report(done: int, _: int, note: Any) -> None:
        progress(before + done, total, note)

    return report
