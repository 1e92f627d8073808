"""Distances of a climate from the truth, relative to those of halves of the truth."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.verification.climate.comparison import compare
from forecast.verification.climate.groups import assign_groups
from forecast.verification.climate.table import DIAGNOSTICS
from tests.forecast.verification.climate.worlds import feed, red_climate, setting, times

N_TRUTH = 1600
NAMES = (
    "means and variance",
    "24-hour differences",
    "spectra by degree",
    "histograms and extremes",
    "spectra by wavenumber and frequency",
)


def squares(seed: int, name: str, n: int, change=lambda x: x) -> dict[str, np.ndarray]:
    """Return the squared distance and expected distance of each measure, means over channels."""
    facts = setting(reference=np.full((2, 8, 16), 10.0))
    (groups,), _ = assign_groups([times(N_TRUTH)], by_year=False)
    truth = feed(DIAGNOSTICS[name], facts, red_climate(seed, N_TRUTH), groups=groups)
    model = feed(DIAGNOSTICS[name], facts, change(red_climate(seed + 100, n)))
    found: dict[str, list[tuple[float, float]]] = {}
    for row in compare(model, truth, n, np.bincount(groups)).rows:
        found.setdefault(row.measure, []).append((row.distance**2, row.expected**2))
    return {measure: np.mean(pairs, axis=0) for measure, pairs in found.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [800, 2400])
def test_another_realisation_of_any_length_has_a_ratio_of_about_one(name, n):
    found = [squares(seed, name, n) for seed in range(4 if "wavenumber" in name else 12)]
    for measure in found[0]:
        distance, expected = np.sum([f[measure] for f in found], axis=0)
        # Of single numbers such as quantiles, 24 distances (2 channels) scatter by 20 %.
        assert 0.6 < np.sqrt(distance / expected) < 1.6, measure


@pytest.mark.parametrize(
    ("name", "measure", "change"),
    [
        ("means and variance", "mean", lambda x: x + 1.0),
        ("means and variance", "variance", lambda x: 10 + 1.4 * (x - 10)),
        ("24-hour differences", "variance_24h", lambda x: 10 + 1.4 * (x - 10)),
        ("spectra by degree", "power", lambda x: 10 + 1.4 * (x - 10)),
        ("histograms and extremes", "histogram", lambda x: x + 1.0),
        ("histograms and extremes", "upper_tail", lambda x: 10 + 1.4 * (x - 10)),
        ("histograms and extremes", "maxima", lambda x: 10 + 1.4 * (x - 10)),
        (
            "spectra by wavenumber and frequency",
            "wavenumber_frequency_power",
            lambda x: 10 + 1.4 * (x - 10),
        ),
    ],
)
def test_another_climate_has_a_ratio_well_above_one(name, measure, change):
    distance, expected = squares(3, name, 1600, change)[measure]
    assert np.sqrt(distance / expected) > 2


def test_a_climate_without_noise_has_no_ratio():
    facts = setting()
    fields = np.full((80, 2, 8, 16), 3.0)
    (groups,), _ = assign_groups([times(80)], by_year=False)
    kind = DIAGNOSTICS["means and variance"]
    truth, model = feed(kind, facts, fields, groups=groups), feed(kind, facts, fields)
    rows = compare(model, truth, 80, np.bincount(groups)).rows
    assert all(row.distance == 0 or np.isnan(row.distance) for row in rows)
    assert all(np.isnan(row.ratio) for row in rows)


def test_a_truth_that_cannot_be_halved_has_no_ratio():
    facts = setting()
    kind = DIAGNOSTICS["means and variance"]
    model, truth = feed(kind, facts, red_climate(0, 9)), feed(kind, facts, red_climate(1, 1))
    found = compare(model, truth, 9, np.array([1]))
    assert np.isnan([row.ratio for row in found.rows]).all()
    assert np.isfinite(found.rows[0].distance)


def test_a_trend_is_compared_with_its_error_bars():
    facts, kind = setting(), DIAGNOSTICS["global means and trends"]
    (groups,), _ = assign_groups([times(N_TRUTH)], by_year=False)
    truth = feed(kind, facts, red_climate(0, N_TRUTH), groups=groups)
    same = red_climate(1, 800)
    drift = same + 0.05 * np.arange(800)[:, None, None, None] / 4  # 0.05 per day
    found = {}
    for name, fields in (("same", same), ("drift", drift)):
        rows = compare(feed(kind, facts, fields), truth, 800, np.bincount(groups)).rows
        found[name] = [row.ratio for row in rows if row.measure == "global_trend"]
    assert max(found["same"]) < 3
    assert min(found["drift"]) > 5


def test_quantities_that_both_conserve_are_at_no_distance():
    facts, kind = setting(), DIAGNOSTICS["global means and trends"]
    rng = np.random.default_rng(0)
    area = facts.area / (facts.area.sum() * 16)

    def conserving(n: int, seed: int) -> np.ndarray:
        fields = red_climate(seed, n) + 1e5
        mean = (fields * area).sum((-2, -1), keepdims=True)
        return fields - mean + 1e5 + 1e-3 * rng.normal(size=mean.shape)  # rounding errors

    (groups,), _ = assign_groups([times(160)], by_year=False)
    truth = feed(kind, facts, conserving(160, 0), groups=groups)
    same = compare(feed(kind, facts, conserving(80, 1)), truth, 80, np.bincount(groups))
    assert all(row.distance == row.expected == 0 for row in same.rows)
    other = compare(feed(kind, facts, conserving(80, 1) + 1), truth, 80, np.bincount(groups))
    assert all(row.distance > 0 for row in other.rows if row.measure == "global_mean")
