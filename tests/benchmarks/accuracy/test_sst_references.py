"""Linear forecasts of sea surface temperature on series whose laws are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.accuracy.sst.references import REFERENCES, Series, damped, eofs, month_before
from benchmarks.accuracy.sst.table import mean_squares, ratio, table

MONTHS, POINTS = 960, 30
SPLITS = {
    "train": np.arange(0, 640),
    "validation": np.arange(640, 800),
    "test": np.arange(800, MONTHS),
}


def series(
    first: float, second: float = 0.0, *, remote: float = 0.0, warming: float = 0.0
) -> Series:
    """Return an autoregressive series of second order at each point.

    Args:
        first: Coefficient of the last month.
        second: Coefficient of the month before.
        remote: Coefficient by which the first half of the points drives the second one.
        warming: Trend of all points, °C a month.
    """
    random = np.random.default_rng(0)
    x = np.zeros((MONTHS, POINTS))
    half = POINTS // 2
    common = random.standard_normal((MONTHS, 1))
    noise = np.hstack([np.repeat(common, half, 1), random.standard_normal((MONTHS, half))])
    noise[:, half:] *= 0.3 if remote else 1
    for t in range(2, MONTHS):
        x[t] = first * x[t - 1] + second * x[t - 2] + noise[t]
        x[t, half:] += remote * x[t - 1, :1]
    x += warming * np.arange(MONTHS)[:, None]
    return Series(x, np.full(POINTS, 1 / POINTS), SPLITS)


def rmse(of: Series, name: str, lead: int = 1) -> float:
    starts = of.splits["test"][:-lead]
    return float(np.sqrt(of.squares(REFERENCES[name](of, lead)(starts), starts, lead).mean()))


def without_mean(of: Series, points: slice = slice(None)) -> Series:
    """Return a series of some points without an area mean: each has an opposite one."""
    both = np.hstack([of.anomaly[:, points], -of.anomaly[:, points]])
    return Series(both, np.full(both.shape[1], 1 / both.shape[1]), SPLITS)


INDEPENDENT = slice(POINTS // 2, POINTS)
"""Points whose noise is independent of that of others."""


@pytest.mark.parametrize("lead", [1, 3])
def test_a_damped_forecast_has_the_error_of_the_law(lead: int) -> None:
    of = without_mean(series(0.8), INDEPENDENT)
    starts = of.splits["test"][:-lead]
    forecast = damped(of, lead)(starts)
    slope = (forecast * of.anomaly[starts]).sum() / (of.anomaly[starts] ** 2).sum()
    assert slope == pytest.approx(0.8**lead, abs=0.03)
    expected = np.sqrt(sum(0.8 ** (2 * k) for k in range(lead)))  # of unit noise
    assert rmse(of, "damped", lead) == pytest.approx(expected, rel=0.05)


def test_the_month_before_helps_where_the_law_has_it() -> None:
    of = without_mean(series(1.2, -0.5), INDEPENDENT)
    assert rmse(of, "month before") == pytest.approx(1, rel=0.05)
    assert rmse(of, "damped") > 1.1
    first_order = without_mean(series(0.8), INDEPENDENT)
    found = [rmse(first_order, name) for name in ("month before", "damped")]
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_components_help_where_points_depend_on_others() -> None:
    of = without_mean(series(0.5, remote=1.0))
    starts, driven = of.splits["test"][:-1], INDEPENDENT
    true = of.anomaly[starts + 1, driven]
    without, with_them = (
        np.sqrt(np.mean((fit(of, 1)(starts)[:, driven] - true) ** 2))
        for fit in (month_before, eofs)
    )
    assert with_them == pytest.approx(0.3, rel=0.1)  # the noise there
    assert without > 2 * with_them


def test_the_area_mean_is_kept() -> None:
    of = series(0.5, warming=0.02)
    starts = of.splits["test"][-24:-1]
    for fit in (damped, month_before):
        forecast = fit(of, 1)(starts) @ of.weights
        assert forecast.mean() == pytest.approx(of.mean[starts].mean(), rel=0.02)
    assert of.mean[starts].min() > 15  # the climatology is 0


def test_nothing_is_fitted_to_the_test_years() -> None:
    of = series(0.5, remote=1.0)
    changed = of.anomaly.copy()
    changed[SPLITS["test"]] *= -3
    other = Series(changed, of.weights, SPLITS)
    starts = SPLITS["validation"][2:10]
    for name, fit in REFERENCES.items():
        np.testing.assert_array_equal(fit(of, 3)(starts), fit(other, 3)(starts), err_msg=name)


def test_a_series_is_the_anomalies_of_the_ocean(tmp_path: Path) -> None:
    from configs.load import load_config
    from data_prep.ingest.run import ingest
    from data_prep.store.reader import Store

    time = np.arange("2000-01", "2006-01", dtype="M8[M]").astype("M8[ns]")
    lat, lon = np.arange(-75, 90, 30.0), np.arange(0, 360, 30.0)
    values = np.random.default_rng(0).normal(15, 3, (72, 6, 12)).astype(np.float32)
    values[:, :2, :5] = np.nan
    coords = {"time": time, "lat": ("lat", lat, {"units": "degrees_north"}),
              "lon": ("lon", lon, {"units": "degrees_east"})}  # fmt: skip
    field = xr.DataArray(values, coords, ("time", "lat", "lon"), attrs={"units": "degC"})
    field.to_dataset(name="sst").to_netcdf(tmp_path / "sst.nc")
    words = ['data.splits={train: {first: "2000", last: "2003"}, validation: {first: "2004", '
             'last: "2004"}, test: {first: "2005", last: "2005"}}']  # fmt: skip
    config = load_config("sst", words)
    assert config.data.source == "files"
    ingest([str(tmp_path / "sst.nc")], config.data, tmp_path / "s.zarr", table=config.table)
    of = Series.from_store(Store(tmp_path / "s.zarr"))
    assert of.anomaly.shape == (72, 62) and of.weights.sum() == pytest.approx(1)
    expected = values[60, ~np.isnan(values[0])] - values[:48:12, ~np.isnan(values[0])].mean(0)
    np.testing.assert_allclose(np.sort(of.anomaly[60]), np.sort(expected), atol=1e-4)
    assert [len(of.splits[name]) for name in SPLITS] == [48, 12, 12]


def test_the_table_compares_the_mean_over_seeds_on_the_same_starts() -> None:
    random = np.random.default_rng(0)
    linear = random.uniform(0.5, 1.5, 120)
    runs = [{"overrides": [], "seed": k, "squares": [[*(0.81 * linear + (k - 0.5) / 10), None]]}
            for k in (0, 1)]  # fmt: skip
    content = {"leads": [1], "runs": runs, "linear": {"damped": {"squares": [[*linear, None]]}}}
    (model,) = mean_squares([r["squares"] for r in runs])
    np.testing.assert_allclose(model, 0.81 * linear)
    assert ratio(model, linear).startswith("0.900 (0.900 to 0.900)")
    lines = table(content).splitlines()
    assert lines[2] == f"| the preset, seeds 0, 1 | {np.sqrt(model.mean()):.3f} |"
    assert lines[3] == f"| damped | {np.sqrt(linear.mean()):.3f}; {ratio(model, linear)} |"
