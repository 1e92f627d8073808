"""SEEPS and fractions skill score of the scores file: definitions and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store.climatology import Climatology
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.verification.ensembles import (
    Neighbourhoods,
    PrecipitationClimatology,
    fractions_skill,
    seeps,
    squared_fractions,
)
from forecast.verification.evaluate import evaluate
from forecast.verification.precipitation import one_mm
from forecast.verification.report import table
from forecast.verification.significance.comparison import compare
from tests.forecast.stand_in import Turning
from tests.forecast.verification.test_references import without_splits

MM = 1e-3
N_STEPS = 2
FRACTIONS = ["tp>1mm:1km,2000km", "tp>q80:5000km"]
AT = {"forecast": "model", "region": "global", "channel": "tp"}


def rain(n: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return amounts of n days, dry on 45 % of them, heavier in the second half of the year."""
    rng = np.random.default_rng(seed)
    season = 1 + 0.8 * np.sin(2 * np.pi * np.arange(n) / 365.25 - np.pi / 2)
    amount = rng.gamma(0.7, 6 * MM, (n, *shape)) * season[:, None, None] + 0.3 * MM
    return np.where(rng.uniform(size=(n, *shape)) > 0.45, amount, 0.0).astype(np.float32)


def rainy_store(make_store, path: Path, n_times: int, *, time_step: str = "1d", **options) -> Path:
    """Make a store of rain without memory from day to day, and of temperature."""
    make_store(
        path, "files", time_step=time_step, n_times=n_times, channels=("tp", "t2m"), **options
    )
    fields = zarr.open_group(path, mode="r+")["fields"]
    fields[:, 0] = rain(n_times, fields.shape[-2:], 0)
    return path


def forecast_of(store: Path, out: Path, change=lambda tp: tp) -> Path:
    """Write the true fields as a forecast; the amounts after the start are those of a function."""
    held = Store(store)
    days = held.split_indices("validation")[:20]
    times = [str(time) for time in held.time[days]]
    single = out.with_suffix(".tmp.nc")
    run_rollout(Turning(store), store, single, init_times=times, n_steps=N_STEPS)
    truth = np.stack([held.states(int(i), 0, N_STEPS + 1).numpy() for i in days])
    with xr.open_dataset(single) as file:
        file = file.load()
    changed = change(truth[:, 1:, 0])
    for c, name in enumerate(("tp", "t2m")):
        dims, field = file[name].dims, truth[:, :, c].copy()
        if changed.ndim == 5:  # (n, m, k, h, w)
            dims, field = (dims[0], "member", *dims[1:]), np.stack([field] * changed.shape[1], 1)
        if name == "tp":
            field[..., 1:, :, :] = changed
        file[name] = dims, field, file[name].attrs
    file.to_netcdf(out)
    single.unlink()
    return out


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    return rainy_store(make_store, tmp_path_factory.mktemp("rain") / "s.zarr", 1500)


@pytest.fixture(scope="module")
def noisy(store) -> Path:
    """Forecast whose amounts are those of the truth with a factor, so that categories differ."""

    def change(tp):
        return tp * np.random.default_rng(1).choice([0.0, 0.5, 1.0, 3.0], tp.shape)

    return forecast_of(store, store.parent / "noisy.nc", change)


@pytest.fixture(scope="module")
def scored(store, noisy) -> xr.Dataset:
    out = noisy.with_name("noisy_scores.nc")
    return evaluate(noisy, store, out, regions=["tropics"], fractions=FRACTIONS)


@pytest.fixture(scope="module")
def fields(store, noisy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return forecast and truth of the amounts, (n, k, h, w), and the valid times, (n, k)."""
    held = Store(store)
    with xr.open_dataset(noisy) as file:
        times = file.valid_time.values
        forecast = file.tp.values.astype(np.float64)
    truth = np.stack(
        [held.states(int(i), 0, N_STEPS + 1)[:, 0].numpy() for i in held.find(times[:, 0])]
    )
    return forecast, truth, times


def climatology_at(store: Store, times: np.ndarray) -> PrecipitationClimatology:
    """Return the climatology at valid times (n, k): quantiles of three months, interpolated."""
    train = store.split_indices("train")
    samples = np.stack([store.state(int(i))[0].numpy() for i in train]).astype(np.float64)
    month = store.time[train].astype("datetime64[M]").astype(int) % 12
    wet = np.where(samples >= 0.25 * MM, samples, np.nan)
    windows = [np.isin(month, [(m - 1) % 12, m, (m + 1) % 12]) for m in range(12)]
    monthly = np.stack([np.nanquantile(wet[w], 2 / 3, axis=0) for w in windows])
    held = Climatology(torch.from_numpy(monthly)[:, None], store.time_step)
    thresholds = np.stack([held.at(t)[:, 0].numpy() for t in times])
    return PrecipitationClimatology((samples < 0.25 * MM).mean(0), thresholds)


def test_seeps_is_that_of_the_definition_about_the_training_split(scored, store, fields):
    held, (forecast, truth, times) = Store(store), fields
    climatology = climatology_at(held, times)
    assert np.ptp(climatology.wet_threshold, axis=(0, 1)).min() > 0  # it depends on the date
    area = held.grid.area_weights.numpy()
    mean = Climatology(held.statistics["climatology"], held.time_step)
    of = {
        "model": forecast,
        "persistence": np.broadcast_to(truth[:, :1], truth.shape),
        "climatology": np.stack([mean.at(t)[:, 0].numpy() for t in times]),
    }
    for region, inside in (("global", 90), ("tropics", 20)):
        weights = area * (abs(held.grid.latitude.numpy()) <= inside)[:, None]
        for name, states in of.items():
            expected = seeps(states, truth, climatology, weights).mean(0)
            found = scored.seeps.sel(forecast=name, region=region, channel="tp")
            # Wet thresholds in the file's computation are float32, and so may be a category.
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{name} {region}")
    assert scored.seeps.sel(channel="t2m").isnull().all()
    assert "750 training states of s.zarr" in scored.seeps.attrs["comment"]
    assert scored.seeps_lower.sel(AT).notnull().any()


def test_fractions_skill_is_the_ratio_of_means_over_the_starts(scored, store, fields):
    held, (forecast, truth, _) = Store(store), fields
    train = np.stack([held.state(int(i))[0].numpy() for i in held.split_indices("train")])
    q80 = np.quantile(train[np.linspace(0, 749, 512).round().astype(int)], 0.8, axis=0)
    limits = {
        "tp>1mm:1km": (1 * MM, 1),
        "tp>1mm:2000km": (1 * MM, 2000),
        "tp>q80:5000km": (q80, 5000),
    }
    assert list(scored.neighbourhood.values) == list(limits)
    np.testing.assert_allclose(scored.neighbourhood_radius, [1, 2000, 5000], rtol=1e-5)
    for name, states in (
        ("model", forecast),
        ("persistence", np.broadcast_to(truth[:, :1], truth.shape)),
    ):
        for label, (limit, radius) in limits.items():
            parts = squared_fractions(
                states, truth, np.array(limit)[None], Neighbourhoods(held.grid, radius)
            )
            of = scored.sel({**AT, "forecast": name, "neighbourhood": label})
            np.testing.assert_allclose(of.fbs_each, parts[0][..., 0], rtol=1e-5)
            expected = fractions_skill(*(part.mean(0)[:, 0] for part in parts))
            np.testing.assert_allclose(of.fss, expected, rtol=1e-9)
    assert scored.fss.sel(channel="t2m").isnull().all()
    assert scored.fss.sel(forecast="climatology").isnull().all()


def test_an_interval_of_the_fractions_skill_is_about_the_score(scored):
    after = scored.sel(AT).isel(lead_time=slice(1, None))
    assert (after.fss_lower < after.fss).all() and (after.fss < after.fss_upper).all()


def test_a_perfect_forecast_has_seeps_zero_and_fractions_skill_one(store, tmp_path):
    perfect = forecast_of(store, tmp_path / "f.nc")
    scores = evaluate(perfect, store, tmp_path / "s.nc", fractions=FRACTIONS).sel(AT)
    assert (scores.seeps == 0).all()
    np.testing.assert_allclose(scores.fss, 1, rtol=1e-12)


def test_a_draw_of_the_climatology_has_seeps_one(store, tmp_path):
    def other_days(tp):
        return rain(len(tp) * N_STEPS + 700, tp.shape[-2:], 5)[700:].reshape(tp.shape)

    drawn = forecast_of(store, tmp_path / "f.nc", other_days)
    scores = evaluate(drawn, store, tmp_path / "s.nc").sel(AT).isel(lead_time=slice(1, None))
    # 5,120 points with penalties of order 1: standard error 0.015.
    assert abs(scores.seeps.mean() - 1) < 0.05


def test_a_displaced_event_gains_fractions_skill_with_the_radius(store, tmp_path):
    away = forecast_of(store, tmp_path / "f.nc", lambda tp: np.roll(tp, 1, axis=-1))
    radii = ["tp>5mm:1km,2500km,5000km,20000km"]
    fss = evaluate(away, store, tmp_path / "s.nc", fractions=radii).fss.sel(AT)
    assert (fss.isel(lead_time=slice(1, None)).diff("neighbourhood") > 0.01).all()
    assert (fss.isel(neighbourhood=-1) > 0.99).all()


def test_members_count_by_their_mean_fraction_and_by_the_seeps_of_their_mean(
    store, fields, tmp_path
):
    held, (_, truth, times) = Store(store), fields

    def change(tp):
        factor = np.random.default_rng(2).choice([0.0, 1.0, 2.0], (len(tp), 3, *tp.shape[1:]))
        return tp[:, None] * factor

    ensemble = forecast_of(store, tmp_path / "f.nc", change)
    scores = evaluate(ensemble, store, tmp_path / "s.nc", fractions=FRACTIONS[:1]).sel(AT)
    with xr.open_dataset(ensemble) as file:
        members = np.moveaxis(file.tp.values, 1, 0)
    area = held.grid.area_weights.numpy()
    mean = members.mean(0, dtype=np.float64).astype(np.float32)
    expected = seeps(mean, truth, climatology_at(held, times), area).mean(0)
    np.testing.assert_allclose(scores.seeps, expected, rtol=1e-6)
    parts = squared_fractions(members, truth, [MM], Neighbourhoods(held.grid, 2000))
    expected = fractions_skill(*(part.mean(0)[:, 0] for part in parts))
    np.testing.assert_allclose(scores.fss.sel(neighbourhood="tp>1mm:2000km"), expected, rtol=1e-9)


def test_two_forecasts_are_compared_by_both_scores(store, noisy, scored, tmp_path):
    perfect = forecast_of(store, tmp_path / "f.nc")
    options = {"fractions": FRACTIONS}
    found = compare(noisy, perfect, tmp_path / "c.nc", data=store, **options)
    at = {"channel": "tp", "region": "global"}
    for name in ("seeps", "fss"):
        np.testing.assert_allclose(found[f"{name}_a"].sel(at), scored[name].sel(AT), rtol=1e-5)
        after = found.sel(at).isel(lead_time=slice(1, None))
        assert after[f"{name}_significant"].all()
        assert (np.sign(after[f"{name}_difference"]) == {"seeps": 1, "fss": -1}[name]).all()


def test_scores_about_different_dry_thresholds_are_not_compared(store, noisy, tmp_path):
    for name, limit in (("a", 0.25), ("b", 1.0)):
        evaluate(noisy, store, tmp_path / f"{name}.nc", dry_threshold=limit)
    found = compare(tmp_path / "a.nc", tmp_path / "b.nc", tmp_path / "c.nc")
    assert "rmse_difference" in found and "seeps_difference" not in found


def test_the_table_has_a_column_of_seeps(scored):
    lines = table(scored).splitlines()
    assert any("seeps" in line for line in lines)
    temperature = next(line for line in lines if line.startswith("t2m ("))
    assert temperature.split()[-2] == "-"


def test_few_times_of_the_year_give_one_wet_threshold(make_store, tmp_path):
    path = rainy_store(make_store, tmp_path / "s.zarr", 400)
    scores = evaluate(forecast_of(path, tmp_path / "f.nc"), path, tmp_path / "s.nc")
    assert "of all times of the year, of 200 training states" in scores.seeps.attrs["comment"]


@pytest.mark.parametrize(
    ("n_times", "time_step", "note"),
    [
        (
            120,
            "1d",
            "store {} has 60 training states, and its climatology needs 100 states; --climatology",
        ),
        (400, "1mo", "months have no usual dry threshold; --dry-threshold gives one in mm"),
    ],
)
def test_a_missing_climatology_is_a_note(make_store, tmp_path, n_times, time_step, note):
    path = rainy_store(make_store, tmp_path / "s.zarr", n_times, time_step=time_step)
    forecast = forecast_of(path, tmp_path / "f.nc")
    scores = evaluate(forecast, path, tmp_path / "s.nc")
    assert "seeps" not in scores
    assert f"no SEEPS of tp: {note.format(path)}" in scores.attrs["notes"]


def test_a_store_with_a_training_split_replaces_one_without(make_store, store, noisy, tmp_path):
    expected = evaluate(noisy, store, tmp_path / "a.nc")
    copy = rainy_store(make_store, tmp_path / "copy.zarr", 1500)
    without_splits(copy)
    none = evaluate(noisy, copy, tmp_path / "b.nc")
    assert "seeps" not in none and "has no training split" in none.attrs["notes"]
    found = evaluate(noisy, copy, tmp_path / "c.nc", climatology=store)
    xr.testing.assert_equal(found.seeps, expected.seeps)


def test_a_mean_rate_has_the_scores_of_its_amount():
    day, six_hours, month = (TimeStep.parse(text) for text in ("1d", "6h", "1mo"))
    assert one_mm(variable("tp"), day) == one_mm(variable("tp"), month) == 1e-3
    assert one_mm(variable("mtpr"), day) == 1 / 86400
    assert one_mm(variable("mtpr"), six_hours) == 1 / 21600
    assert one_mm(variable("mtpr"), month) is None and one_mm(variable("t2m"), day) is None


def test_the_dry_threshold_of_a_short_step_is_that_of_six_hours(make_store, tmp_path):
    path = rainy_store(make_store, tmp_path / "s.zarr", 400, time_step="6h")
    forecast = forecast_of(path, tmp_path / "f.nc")
    scores = evaluate(forecast, path, tmp_path / "s.nc")
    assert "less than 0.1 mm is dry" in scores.seeps.attrs["comment"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fractions", "tp>1mm"], "fractions 'tp>1mm'; expected an event and the radius"),
        (["--fractions", "tp>1mm:100"], "fractions 'tp>1mm:100': length '100' is not a positive"),
        (["--fractions", "rain>1:100km"], "threshold 'rain>1'; expected NAME>VALUE or NAME>qP"),
        (["--fractions", "t2m>1mm:100km"], "threshold 't2m>1mm'; expected a number, or q and"),
        (["--threshold", "tp>nan"], "threshold 'tp>nan'; expected a number (in mm as 1mm), or q"),
        (["--dry-threshold", "-1"], "dry threshold -1 mm; expected a positive number, as 0.25"),
    ],
)
def test_an_option_that_is_none_is_one_error(
    store, noisy, tmp_path, run_forecast, capsys, words, message
):
    out = tmp_path / "s.nc"
    assert run_forecast("evaluate", noisy, "--data", store, "--out", out, *words) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_threshold_without_precipitation_is_refused(make_store, tmp_path):
    path = make_store(tmp_path / "s.zarr", "files", n_times=96)
    run_rollout(Turning(path), path, tmp_path / "f.nc", split="validation", n_steps=1)
    with pytest.raises(ValueError, match="has no precipitation among sst, t2m; leave the"):
        evaluate(tmp_path / "f.nc", path, tmp_path / "o.nc", dry_threshold=0.2)
