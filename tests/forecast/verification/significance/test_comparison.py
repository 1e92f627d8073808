"""Comparison of forecast files and of scores files, and its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.cli.main import main
from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from forecast.verification.significance.comparison import compare
from forecast.verification.significance.comparison_report import headline
from tests.forecast.stand_in import Turning


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "store.zarr"
    return make_store(path, "files", mask=True, n_times=96)


@pytest.fixture(scope="module")
def forecasts(store, tmp_path_factory) -> tuple[Path, Path]:
    """Return a forecast that damps anomalies by 0.9 in each step, and one by 0.95."""
    folder = tmp_path_factory.mktemp("forecasts")
    paths = folder / "a.nc", folder / "b.nc"
    for path, factor, n_steps in zip(paths, (0.9, 0.95), (3, 4), strict=True):
        run_rollout(Turning(store, factor), store, path, split="train", n_steps=n_steps)
    return paths


@pytest.fixture(scope="module")
def found(store, forecasts, tmp_path_factory) -> tuple[Path, xr.Dataset]:
    out = tmp_path_factory.mktemp("out") / "c.nc"
    return out, compare(*forecasts, out, data=store, regions=["tropics"])


def test_comparison_of_forecasts_has_the_scores_of_both(found, store, forecasts, tmp_path):
    out, differences = found
    for end, path in zip(("_a", "_b"), forecasts, strict=True):
        scores = evaluate(path, store, tmp_path / f"s{end}.nc", baselines=(), spectra=False)
        expected = scores.rmse.sel(forecast="model", region="global").isel(lead_time=slice(1, 4))
        of_file = differences[f"rmse{end}"].sel(region="global").isel(lead_time=slice(1, 4))
        np.testing.assert_allclose(of_file, expected, rtol=1e-6)
    with xr.open_dataset(out, decode_timedelta=True) as written:
        xr.testing.assert_allclose(written, differences)
        assert written.attrs["forecast_a"] == str(forecasts[0])
        assert written.rmse_significant.dtype == np.int8
    assert "| sst | global |" in out.with_suffix(".md").read_text()
    assert differences.sizes["lead_time"] == 4, "a has no more"


def test_scores_files_give_the_same_differences_as_their_forecasts(
    found, store, forecasts, tmp_path
):
    scores = tmp_path / "a.nc", tmp_path / "b.nc"
    for path, out in zip(forecasts, scores, strict=True):
        evaluate(path, store, out, regions=["tropics"], baselines=(), spectra=False)
    again = compare(*scores, tmp_path / "c.nc")
    for name in ("rmse_difference", "rmse_difference_lower", "acc_p_value"):
        np.testing.assert_allclose(again[name], found[1][name], rtol=1e-6, atol=1e-12)


def test_both_are_scored_at_the_points_that_both_have(store, forecasts, tmp_path):
    a, b = (tmp_path / path.name for path in forecasts)
    for path, copy in zip(forecasts, (a, b), strict=True):
        with xr.open_dataset(path, decode_timedelta=False) as data:
            data = data.load()
        if copy == a:
            data["t2m"][:, :, :2] = np.nan  # a model of fewer points
        data.to_netcdf(copy)
    compared = compare(a, b, tmp_path / "c.nc", data=store)
    source = Store(store)
    channel, area = source.channel_names.index("t2m"), source.grid.area_weights.numpy()
    with xr.open_dataset(b, decode_timedelta=False) as data:
        index = np.searchsorted(source.time, data.valid_time.values[:, 1].astype("M8[M]"))
        truth = np.stack([source.state(int(i)).numpy()[channel] for i in index])
        error = (data.t2m.values[:, 1] - truth)[:, 2:]
    weights = np.broadcast_to(area, source.grid.shape)[2:]
    expected = np.sqrt(np.average(error**2, axis=(1, 2), weights=weights).mean())
    of_b = compared.rmse_b.sel(channel="t2m", region="global")[1]
    np.testing.assert_allclose(of_b, expected, rtol=1e-5)


def test_forecasts_on_other_grids_are_refused_by_their_names(
    store, forecasts, make_store, tmp_path
):
    other = make_store(tmp_path / "other.zarr", "files", nlat=10, nlon=20, n_times=96)
    run_rollout(Turning(other), other, tmp_path / "o.nc", split="train", n_steps=2)
    with pytest.raises(
        ValueError, match="a.nc and .*o.nc cannot be compared: the grid is"
    ) as error:
        compare(forecasts[0], tmp_path / "o.nc", tmp_path / "c.nc", data=store)
    assert "\n" not in str(error.value) and "8×16" in str(error.value)
    assert not list(tmp_path.glob("*c.*"))


def test_forecasts_without_common_starts_are_refused_by_their_names(store, forecasts, tmp_path):
    run_rollout(Turning(store), store, tmp_path / "v.nc", split="validation", n_steps=2)
    with pytest.raises(ValueError, match="a.nc and .*v.nc have no start in common: 2000-01-01"):
        compare(forecasts[0], tmp_path / "v.nc", tmp_path / "c.nc", data=store)
    assert not list(tmp_path.glob("*c.*"))


def test_an_ensemble_is_compared_by_its_crps_with_a_single_forecast(store, forecasts, tmp_path):
    a, b = forecasts
    ensemble = tmp_path / "members.nc"
    with xr.open_dataset(a, decode_timedelta=False) as file:
        file = file.load()
        for name in ("sst", "t2m"):
            field = file[name].expand_dims(member=np.arange(4, dtype=np.int32), axis=1)
            noise = np.random.default_rng(0).normal(size=field.shape)
            noisy = field.values + 0.3 * float(field.std()) * noise
            file[name] = field.copy(data=noisy.astype(np.float32))
        file.to_netcdf(ensemble)
    compared = compare(ensemble, b, tmp_path / "c.nc", data=store)
    of_members = evaluate(ensemble, store, tmp_path / "m.nc", baselines=(), spectra=False)
    of_one = evaluate(b, store, tmp_path / "o.nc", baselines=(), spectra=False)
    for end, expected in (("_a", of_members.crps), ("_b", of_one.mae)):
        of_model = expected.sel(forecast="model")[..., :4]
        np.testing.assert_allclose(compared[f"crps{end}"][..., 1:], of_model[..., 1:], rtol=1e-5)
    assert "spread_difference" not in compared, "a single forecast has none"
    assert "sst (crps): " in "\n".join(headline(compared))
    lower, ratio, upper = (
        of_members["spread_skill" + end][0, :, :, 1:] for end in ("_lower", "", "_upper")
    )
    assert ((lower <= ratio) & (ratio <= upper)).all()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return int(end.value.code or 0)


def test_the_command_compares_two_forecasts_and_prints_who_is_better(
    store, forecasts, tmp_path, capsys
):
    a, b = forecasts
    out = tmp_path / "c.nc"
    options = ("--data", store, "--out", out, "--confidence", 0.9, "--seed", 3)
    assert run("-q", "evaluate", a, b, *options, "--false-discovery") == 0
    text = capsys.readouterr().out
    assert f"A is {a}, B is {b}" in text and "intervals of 90 %" in text
    assert "sst (rmse): B is better at 3 of 3 lead times" in text and f"comparison: {out}" in text
    with xr.open_dataset(out, decode_timedelta=True) as written:
        assert written.attrs["confidence"] == 0.9 and written.attrs["seed"] == 3


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "no truth",
            "a.nc needs a truth; give the store that it started from with --data",
        ),
        ("mixed", "c.nc has scores and .*b.nc is a forecast; give two forecasts, or two scores"),
        ("options", "are scores files, which have their truth, regions and thresholds"),
        ("alone", "--false-discovery is for two forecasts; leave it out"),
        ("baseline", "--baseline is for the scores of one forecast; leave it out"),
        ("confidence", "confidence 95; expected a number between 0 and 1, such as 0.95"),
        ("absent", "no forecast at .*absent.nc; make one with `forecast rollout`"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(kind, message, store, forecasts, tmp_path, capfd):
    import re

    a, b = forecasts
    scores = tmp_path / "c.nc"
    if kind in ("mixed", "options"):
        evaluate(a, store, scores, spectra=False)
    with_data = ("--data", store)
    arguments = {
        "no truth": (a, b),
        "mixed": (scores, b, *with_data),
        "options": (scores, scores, "--region", "tropics"),
        "alone": (a, *with_data, "--false-discovery"),
        "baseline": (a, b, *with_data, "--baseline", "persistence"),
        "confidence": (a, b, *with_data, "--confidence", "95"),
        "absent": (a, tmp_path / "absent.nc", *with_data),
    }[kind]
    assert run("-q", "evaluate", *arguments, "--out", tmp_path / "out.nc") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(message, line) and line.startswith("error: ")
    assert not list(tmp_path.glob("*out*"))


def test_scores_of_one_forecast_have_intervals_and_their_seed(store, forecasts, tmp_path):
    out = tmp_path / "s.nc"
    assert run("-q", "evaluate", forecasts[0], "--data", store, "--out", out, "--seed", 5) == 0
    with xr.open_dataset(out, decode_timedelta=True) as scores:
        at = scores.sel(forecast="model").isel(lead_time=1)
        assert ((at.rmse_lower <= at.rmse) & (at.rmse <= at.rmse_upper)).all()
        assert "seed 5" in scores.rmse_lower.attrs["method"]
        assert scores.skill_lower.dims == scores.skill.dims
