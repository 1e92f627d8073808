"""Contents of the scores file, and its writing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.layout import CHANNEL, CONVENTIONS, INIT_TIME, LEAD_TIME
from data_prep.store.outputs import written_beside
from forecast.inference.coordinates import TIME_STEP, TRAJECTORY_NUMBER
from forecast.verification import metrics
from forecast.verification.ensembles.spread import spread_skill_ratio
from forecast.verification.events import Fractions, Thresholds
from forecast.verification.score_table import (
    FSS,
    NEIGHBOURHOOD,
    OF_EACH,
    RMSE,
    SCORES,
    SPREAD_SKILL,
    THRESHOLD,
    Score,
)
from forecast.verification.scoring.totals import Totals
from forecast.verification.truth import Truth

REGION = "region"
SPREAD = "spread"

VECTORS = "vectors"
"""Attribute with the channels that are vectors, such as wind500; absent if there are none."""

NOTES = "notes"
"""Attribute with notes on the scores, one sentence per line; absent if there are none."""

Array = NDArray[np.floating[Any]]


def make_dataset(
    truth: Truth,
    region_names: Sequence[str],
    names: tuple[str, ...],
    totals: Totals,
    thresholds: Thresholds,
    fractions: Fractions,
) -> xr.Dataset:
    """Return a dataset of scores with coordinates and attributes.

    Args:
        truth: Truth that the forecasts were compared with.
        region_names: Names of the regions.
        names: Names of the model and the baselines.
        totals: Scores summed over the forecasts, and of each forecast.
        thresholds: Thresholds of events.
        fractions: Events whose fractions are compared.
    """
    file, dims = truth.file, ("forecast", REGION, CHANNEL, LEAD_TIME)
    means = totals.means()
    scores = xr.Dataset(
        {
            name: ((*dims, *score.dims), means[name], _meaning(score))
            for name, score in totals.scores.items()
        }
    )
    if SPREAD in means:
        ratio = spread_skill_ratio(means[SPREAD] ** 2, means[RMSE] ** 2, file.n_members)
        scores[SPREAD_SKILL.name] = dims, ratio, _meaning(SPREAD_SKILL)
    if fractions.names:
        skill_score = FSS.per_field(*(means[name] for name in FSS.parts))
        scores[FSS.name] = (*dims, *FSS.dims), skill_score, _meaning(FSS)
    if len(names) > 1:
        skill = [metrics.skill(means[RMSE][0], of_baseline) for of_baseline in means[RMSE][1:]]
        meaning = {"long_name": "1 - rmse of the model / rmse of the baseline", "units": "1"}
        scores["skill"] = (("baseline", *dims[1:]), np.stack(skill), meaning)
        scores = scores.assign_coords(baseline=_labels("baseline", names[1:], "Baseline"))
    for name, of_each in totals.of_each.items():
        score = totals.scores[name]
        scores[name + OF_EACH] = (
            (file.forecast_dim, *dims, *score.dims),
            of_each,
            {"long_name": f"{score.long_name}, of each forecast{', squared' * score.root}"},
        )
    for name, of_dims, values, meaning in (
        (
            "activity_of_truth",
            dims[1:],
            totals.activity_of_truth,
            {"long_name": "Standard deviation of the truth's anomaly"},
        ),
        (
            "n_forecasts",
            (LEAD_TIME,),
            totals.count,
            {"long_name": "Number of forecasts scored", "units": "1"},
        ),
        (
            "n_points",
            dims[1:],
            totals.n_points,
            {"long_name": "Mean number of grid points scored in a forecast", "units": "1"},
        ),
    ):
        scores[name] = (of_dims, values, meaning)
    channels = _channels(truth)
    scores = scores.assign_coords(
        forecast=_labels("forecast", names, "What was scored"),
        region=_labels(REGION, region_names, "Region"),
        channel=_labels(CHANNEL, [c[0] for c in channels], "Variable"),
        channel_long_name=_labels(CHANNEL, [c[1] for c in channels], "Name of the variable"),
        channel_units=_labels(
            CHANNEL,
            [c[2] for c in channels],
            f"Units of the variable, and of its {_names('dimensionless', False)}",
        ),
        lead_time=file.dataset[LEAD_TIME],
        init_time=file.dataset[INIT_TIME],
    )
    if thresholds.names:
        scores = scores.assign_coords(
            threshold=_labels(THRESHOLD, thresholds.names, "Event, a value above the threshold")
        )
    if fractions.names:
        radius = {"long_name": "Radius of the neighbourhoods", "units": "km"}
        scores = scores.assign_coords(
            neighbourhood=_labels(
                NEIGHBOURHOOD, fractions.names, "Event, and radius of the neighbourhoods"
            ),
            neighbourhood_radius=(NEIGHBOURHOOD, np.array(fractions.radii), radius),
        )
    if file.trajectory is not None:
        scores = scores.assign_coords({TRAJECTORY_NUMBER: file.dataset[TRAJECTORY_NUMBER]})
    scores.attrs = _attributes(truth)
    return scores


def write(scores: xr.Dataset, path: Path) -> None:
    """Write the scores to a netCDF file."""
    # CF forbids missing values in coordinates, for which xarray would declare a fill value.
    encoding: dict[Hashable, dict[str, Any]] = {
        name: {"_FillValue": None} for name in scores.coords if scores[name].dtype != "O"
    }
    if INIT_TIME in scores.coords:
        encoding[INIT_TIME] = {"_FillValue": None, "dtype": "f8"}  # CF 1.8 has no 64-bit integers
    with written_beside(path) as scratch:
        scores.to_netcdf(scratch, engine="netcdf4", encoding=encoding)


def _channels(truth: Truth) -> list[tuple[str, str, str]]:
    """Return name, description and units of the channels, then of the vectors."""
    data, names = truth.file.dataset, truth.file.channel_names
    attributes = [data[name].attrs for name in names]
    found = [
        (name, str(a.get("long_name", name)), str(a.get("units", "1")))
        for name, a in zip(names, attributes, strict=True)
    ]
    vectors = truth.vectors
    for name, long_name, (first, _) in zip(
        vectors.names, vectors.long_names, vectors.pairs, strict=True
    ):
        found.append((name, long_name, found[first][2]))
    return found


def _labels(dim: str, values: Any, long_name: str) -> tuple[str, NDArray[Any], dict[str, str]]:
    """Return a coordinate of strings."""
    return dim, np.array(values, dtype=object), {"long_name": long_name}


def _meaning(score: Score) -> dict[str, str]:
    """Return the attributes of the variable of a score."""
    units = {"units": "1"} if score.dimensionless else {}
    return {"long_name": score.long_name} | units


def _names(attribute: str, value: bool) -> str:
    """Join the names of the scores that have a given value of an attribute."""
    *names, last = [s.name for s in SCORES.values() if getattr(s, attribute) is value]
    return f"{', '.join(names)} and {last}"


def _attributes(truth: Truth) -> dict[str, str]:
    """Return the global attributes of the scores file."""
    file, references = truth.file, truth.references
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    held, of_norms = "the state", "from the mean of the channel over area and training times"
    if references.has_climatology:
        of_norms = "likewise"
        if truth.conventions.persistent_anomaly:
            held = "the anomaly of the initial state"
    anomalies, notes = f"Anomalies are departures from {references.kind}", []
    if references.kind is None:
        anomalies = "Activity is the standard deviation of the field itself"
        notes.append(
            f"no anomaly correlation: {references.name} has neither climatology nor mean state of "
            "a training split; --climatology names a package or store that has"
        )
    if not truth.has_starts:
        notes.append(
            f"no persistence: {truth.store.path.name} lacks initial times of the forecasts"
        )
    for name in np.array(file.channel_names)[truth.moving]:
        notes.append(
            f"{name} is missing at points that change, so that its scores are over the points that "
            "forecast and truth have in common at each time (n_points in the scores file)"
        )
    left_out = ((file.mask | truth.mask) & ~truth.valid).sum((-2, -1))
    counts = [f"{n} of {name}" for n, name in zip(left_out, file.channel_names, strict=True) if n]
    if counts:
        notes.append(
            "left out are points at which not all of model, store and climatology have values: "
            + ", ".join(counts)
        )
    attributes = {
        "Conventions": CONVENTIONS,
        "title": f"Scores of the forecast {file.path.name}",
        "source": str(file.dataset.attrs.get("source", "")),
        "history": f"{now} forecast evaluate {file.path.name} against store "
        f"{truth.store.path.name}",
        "comment": f"Means over the sphere are area-weighted; the root of {_names('root', True)} "
        f"comes after the mean over the forecasts. {anomalies}; relative_l2 is the norm of the "
        f"error over that of the truth's departure {of_norms}; persistence keeps {held}. A lead "
        "time at which a forecast had ended, since its values were not finite, has no score.",
        "conventions_of_scores": f"{truth.conventions.name}: {truth.conventions.description}",
        TIME_STEP: file.time_step.label,
    }
    if truth.vectors.names:
        attributes[VECTORS] = " ".join(truth.vectors.names)
    return attributes | ({NOTES: "\n".join(notes)} if notes else {})
