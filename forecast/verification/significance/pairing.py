"""Differences of the scores of two forecasts over what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, CONVENTIONS, INIT_TIME, LEAD_TIME, TRAJECTORY
from forecast.inference.coordinates import TIME_STEP, TRAJECTORY_NUMBER
from forecast.verification.score_table import RMSE, SCORES, Score, known_scores
from forecast.verification.scores_file import REGION
from forecast.verification.scoring.comparing import MODEL
from forecast.verification.significance.discovery import discoveries
from forecast.verification.significance.intervals import (
    LOWER,
    UPPER,
    Settings,
    few_starts,
    parts_of,
    reduction,
    starts_dim,
    with_note,
)

DIFFERENCE, SIGNIFICANT, P_VALUE = "_difference", "_significant", "_p_value"
OF_A, OF_B = "_a", "_b"
_DIMS = (REGION, CHANNEL, LEAD_TIME)

Array = NDArray[np.floating[Any]]
Start = tuple[Any, ...]


def differences(
    a: xr.Dataset,
    b: xr.Dataset,
    names: tuple[str, str],
    settings: Settings,
    *,
    false_discovery: bool = False,
) -> xr.Dataset:
    """Return the differences of two forecasts' scores, with intervals.

    Both are scored over the starts, lead times, channels and regions that both have, and at each
    lead time over the starts with a truth. The difference is missing at lead times at which one of
    the forecasts had ended early from one of these starts.

    Args:
        a: Scores of the first forecast, with the values of each start.
        b: Scores of the second forecast.
        names: Names of both, for messages and the file.
        settings: Settings of the intervals.
        false_discovery: True to call differences significant by the false discovery rate over all
            regions, channels and lead times of a score, False by each interval alone.

    Returns:
        For each score `<score>_a`, `_b`, `_difference` (a minus b) with `_lower` and `_upper`,
        `_p_value` and `_significant`, over (region, channel, lead_time).

    Raises:
        ValueError: If the forecasts have nothing in common to compare.
    """
    check_alike(a, b, names)
    dim = starts_dim(a)
    a, b = _in_common(a, b, dim, names)
    n = a.sizes[dim]
    found: dict[str, tuple[Any, ...]] = {}
    ended: set[str] = set()
    for score in known_scores().values():
        pairs = _of_each(score, a, b)
        if pairs is None:
            continue
        of_a, of_b = (
            [x.sel(forecast=MODEL).transpose(dim, *_DIMS, ...) for x in parts] for parts in pairs
        )
        if score.name == RMSE:
            ended = _ended(of_a[0], of_b[0], names)
            found["n_starts"] = _count(of_a[0], of_b[0])
        found |= _of_score(score, of_a, of_b, names, settings, false_discovery)
    result = xr.Dataset(found, coords=_coordinates(a, found))
    result.attrs = _attributes(names, settings, n, false_discovery, a)
    few = few_starts(n)
    for note in (*sorted(ended), *([few] if few else [])):
        result = with_note(result, note)
    return result


def _of_each(
    score: Score, a: xr.Dataset, b: xr.Dataset
) -> tuple[list[xr.DataArray], list[xr.DataArray]] | None:
    """Return the values of each start of two forecasts; None if they cannot be compared.

    The CRPS of a single forecast is its absolute error. Events must have the same thresholds, and
    a score the same comment, which has what else it depends on.
    """
    of_a, of_b = parts_of(score, a), parts_of(score, b)
    if of_a is None and of_b is None:
        return None
    if score.name == "crps":
        of_a, of_b = (
            parts_of(SCORES["mae"], x) if parts is None else parts
            for parts, x in ((of_a, a), (of_b, b))
        )
    if of_a is None or of_b is None:
        return None
    same = all(
        first[dim].equals(second[dim])
        for first, second in zip(of_a, of_b, strict=True)
        for dim in score.dims
    )
    comments = {x[score.name].attrs.get("comment") for x in (a, b) if score.name in x}
    return (of_a, of_b) if same and len(comments) < 2 else None


def check_alike(a: xr.Dataset, b: xr.Dataset, names: tuple[str, str]) -> None:
    """Raise an error if two sets of scores were made in ways that cannot be compared.

    Raises:
        ValueError: If their starts are of different kinds, or their conventions differ.
    """
    key = "conventions_of_scores"
    for what, of_a, of_b in (
        ("starts along", starts_dim(a), starts_dim(b)),
        ("conventions", a.attrs.get(key), b.attrs.get(key)),
    ):
        if of_a != of_b:
            raise ValueError(
                f"{names[0]} and {names[1]} cannot be compared: {what} {of_a} against {of_b}; give "
                "two forecasts that were scored against the same truth in the same way"
            )


def _in_common(
    a: xr.Dataset, b: xr.Dataset, dim: str, names: tuple[str, str]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the scores at the starts, lead times, channels and regions that both have."""
    starts = [_starts(x) for x in (a, b)]
    common = common_starts(starts[0], starts[1], names)
    chosen = []
    for x, of_x in zip((a, b), starts, strict=True):
        place = {start: i for i, start in enumerate(of_x)}
        chosen.append(x.isel({dim: [place[start] for start in common]}))
    a, b = chosen
    for of_dim, what in ((LEAD_TIME, "lead time"), (CHANNEL, "channel"), (REGION, "region")):
        in_b = set(b[of_dim].values.tolist())
        shared = [i for i, v in enumerate(a[of_dim].values.tolist()) if v in in_b]
        if not shared:
            raise ValueError(
                f"{names[0]} and {names[1]} have no {what} in common: {_range(a[of_dim].values)} "
                f"against {_range(b[of_dim].values)}; give forecasts that overlap"
            )
        a = a.isel({of_dim: shared})
        b = b.sel({of_dim: a[of_dim].values})
    return a, b


def starts_of(times: NDArray[Any], trajectory: NDArray[Any] | None) -> list[Start]:
    """Return the initial time, and the trajectory if there are several, of each forecast."""
    if trajectory is None:
        return [(time,) for time in times.tolist()]
    return list(zip(times.tolist(), trajectory.tolist(), strict=True))


def _starts(scores: xr.Dataset) -> list[Start]:
    """Return the starts of scores."""
    trajectory = scores.coords.get(TRAJECTORY_NUMBER)
    return starts_of(scores[INIT_TIME].values, None if trajectory is None else trajectory.values)


def common_starts(a: list[Start], b: list[Start], names: tuple[str, str]) -> list[Start]:
    """Return the starts that two forecasts have in common, in their order in time.

    Raises:
        ValueError: If there is none.
    """
    common = sorted(set(a) & set(b))
    if not common:
        raise ValueError(
            f"{names[0]} and {names[1]} have no start in common: {_range(a)} against {_range(b)}; "
            "make forecasts from the same initial times"
        )
    return common


def _range(values: Any) -> str:
    """Describe the first and the last of some values."""
    shown = [_label(v) for v in (values[0], values[-1])]
    return shown[0] if len(values) == 1 else f"{shown[0]} to {shown[1]}"


def _label(value: Any) -> str:
    """Describe a start, a lead time or a name."""
    match value:
        case (time,):
            return _time(time)
        case (time, trajectory):
            return f"trajectory {trajectory} at {_time(time)}"
        case np.timedelta64():
            return f"{value / np.timedelta64(1, 'h'):g} h"
    return str(value)


def _time(value: Any) -> str:
    """Describe a time that xarray gave as a number of nanoseconds, or as a date."""
    if isinstance(value, int):
        return str(np.datetime64(value, "ns").astype("datetime64[m]")).replace("T", " ")
    return str(value)


def _of_score(
    score: Score,
    a: list[xr.DataArray],
    b: list[xr.DataArray],
    names: tuple[str, str],
    settings: Settings,
    false_discovery: bool,
) -> dict[str, tuple[Any, ...]]:
    """Return the variables of a score, from the values of each start of its parts."""
    n, dims = len(a), a[0].dims
    known = [np.isfinite(x[0].values) for x in (a, b)]
    unequal = (known[0] != known[1]).any(0)
    together = [x.where(known[0] & known[1]) for x in (*a, *b)]
    reduce, _ = reduction(score)
    found = settings.intervals(together, lambda *x: reduce(*x[:n]) - reduce(*x[n:]), -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.where(found.n_starts > 0, found.n_starts, np.nan)
        means = [np.nansum(x.values, 0) / count for x in together]
    of_each = [reduce(*means[:n]), reduce(*means[n:])]
    values = {
        OF_A: of_each[0],
        OF_B: of_each[1],
        DIFFERENCE: found.estimate,
        DIFFERENCE + LOWER: found.lower,
        DIFFERENCE + UPPER: found.upper,
        P_VALUE: found.p_value,
    }
    values = {end: np.where(unequal, np.nan, x) for end, x in values.items()}
    if false_discovery:
        significant = discoveries(values[P_VALUE], 1 - settings.confidence)
        mask = "false discovery rate (Benjamini and Hochberg 1995) over all points of the score"
    else:
        significant = (values[DIFFERENCE + LOWER] > 0) | (values[DIFFERENCE + UPPER] < 0)
        mask = "the interval of the point alone is on one side of zero"
    what = score.long_name
    units = {"units": "1"} if score.dimensionless else {}
    better = {"lowest": "negative", "highest": "positive", None: "neither"}[score.best]
    ends = settings.attributes(dims[0])
    meanings: dict[str, dict[str, Any]] = {
        OF_A: {"long_name": f"{what} of {names[0]}"},
        OF_B: {"long_name": f"{what} of {names[1]}"},
        DIFFERENCE: {
            "long_name": f"{what}, {names[0]} minus {names[1]}",
            "comment": f"{names[0]} is better where this is {better}.",
        },
        DIFFERENCE + LOWER: {"long_name": f"Lower end of the interval: {what}"} | ends,
        DIFFERENCE + UPPER: {"long_name": f"Upper end of the interval: {what}"} | ends,
        P_VALUE: {"long_name": f"p-value of the difference: {what}", "units": "1"},
    }
    result: dict[str, tuple[Any, ...]] = {
        score.name + end: (dims[1:], x, units | meanings[end]) for end, x in values.items()
    }
    result[score.name + SIGNIFICANT] = (
        dims[1:],
        significant.astype(np.int8),
        {
            "long_name": f"1 where the difference is significant: {what}",
            "method": mask,
            "units": "1",
        },
    )
    return result


def _ended(a: xr.DataArray, b: xr.DataArray, names: tuple[str, str]) -> set[str]:
    """Return notes on a forecast that has no values where the other one has some."""
    notes = set()
    for here, there, name in ((a, b, names[0]), (b, a, names[1])):
        if (~np.isfinite(here.values) & np.isfinite(there.values)).any():
            notes.add(
                f"{name} had ended, or has no values, at some lead times of starts at which the "
                "other one goes on; the difference is missing there"
            )
    return notes


def _count(a: xr.DataArray, b: xr.DataArray) -> tuple[Any, ...]:
    """Return the number of starts compared."""
    both = (np.isfinite(a.values) & np.isfinite(b.values)).sum(0, dtype=np.int32)
    return _DIMS, both, {"long_name": "Number of starts compared", "units": "1"}


def _coordinates(scores: xr.Dataset, found: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Return the coordinates along the dims of the differences."""
    dims = {dim for dims, *_ in found.values() for dim in dims}
    return {str(n): x.variable for n, x in scores.coords.items() if x.dims and set(x.dims) <= dims}


def _attributes(
    names: tuple[str, str], settings: Settings, n: int, false_discovery: bool, a: xr.Dataset
) -> dict[str, Any]:
    """Return the global attributes of the comparison."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kind = "trajectories" if TRAJECTORY in a.dims else "initial times"
    chance = f"{100 * (1 - settings.confidence):g} %"
    mask = (
        f"at most {chance} of the significant differences of a score are expected to be chance"
        if false_discovery
        else f"each difference is tested alone: of many that are zero, {chance} are significant by "
        "chance"
    )
    return {
        "Conventions": CONVENTIONS,
        "title": f"Comparison of {names[0]} with {names[1]}",
        "history": f"{now} forecast evaluate {names[0]} {names[1]}",
        "forecast_a": names[0],
        "forecast_b": names[1],
        "comment": f"Differences are {names[0]} minus {names[1]}, over {n} {kind} that both have "
        f"and over the same points. Significance: {mask}.",
        "confidence": settings.confidence,
        "seed": settings.seed,
        "n_common_starts": n,
        TIME_STEP: a.attrs[TIME_STEP],
    }
