"""Whole workflow on the command line, with tiny data, and its files in other tools."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.workflow import Workflow

Run = Callable[..., int]
Refused = Callable[..., str]


def cf_errors(path: Path) -> list[str]:
    """Return the errors of the CF 1.8 test of compliance-checker."""
    checker = Path(sys.executable).with_name("compliance-checker")
    report = path.with_suffix(".json")
    subprocess.run(
        [checker, "--test", "cf:1.8", "--format", "json", "--output", report, path],
        check=False,
        capture_output=True,
    )
    results = json.loads(report.read_text())["cf:1.8"]
    return [
        f"{check['name']}: {message}"
        for check in results["high_priorities"]
        for message in check["msgs"]
    ]


def cdo_sinfon(path: Path) -> str:
    cdo = shutil.which("cdo")
    if cdo is None:
        pytest.skip("cdo is not installed")
    done = subprocess.run([cdo, "sinfon", path], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_forecast_is_cf(workflow: Workflow) -> None:
    assert cf_errors(workflow.forecast) == []


def test_the_exported_store_is_cf(workflow: Workflow, run_forecast: Run, tmp_path: Path) -> None:
    out = tmp_path / "store.nc"
    assert run_forecast("data", "export", workflow.store, "--out", out) == 0
    assert cf_errors(out) == []


def test_cdo_recognises_grid_and_time_of_a_forecast(workflow: Workflow) -> None:
    shown = cdo_sinfon(workflow.forecast)
    assert "gaussian" in shown
    assert "points=512 (32x16)" in shown
    assert "2000-01-01 00:00:00" in shown


def test_a_store_opens_with_one_call(workflow: Workflow) -> None:
    store = xr.open_zarr(workflow.store, consolidated=False)
    assert store.fields.dims == ("trajectory", "time", "channel", "latitude", "longitude")
    assert list(store.channel.values) == ["geopotential", "vorticity", "divergence"]
    assert list(store.channel_units.values) == ["m2 s-2", "s-1", "s-1"]
    assert store.time.values[0] == np.datetime64("2000-01-01")
    assert store.time.values[1] - store.time.values[0] == np.timedelta64(1, "h")
    assert np.isfinite(store.fields.values).all()


def test_a_forecast_opens_with_one_call_and_says_what_it_is(workflow: Workflow) -> None:
    forecast = xr.open_dataset(workflow.forecast, decode_timedelta=True)
    for name, units in {"geopotential": "m2 s-2", "vorticity": "s-1"}.items():
        assert forecast[name].attrs["units"] == units
        assert forecast[name].attrs["long_name"]
    lead = forecast.lead_time.values
    np.testing.assert_array_equal(lead, np.arange(5) * np.timedelta64(1, "h"))
    assert "sphere-forecast" in forecast.attrs["source"]


def test_a_forecast_starts_from_the_truth_and_conserves_mass(workflow: Workflow) -> None:
    store = xr.open_zarr(workflow.store, consolidated=False)
    forecast = xr.open_dataset(workflow.forecast)
    test = np.flatnonzero(store.split.values == "test")
    truth = store.fields[test].sel(channel="geopotential").values
    np.testing.assert_array_equal(forecast.geopotential[:, 0].values, truth[:, 0])
    _, weights = np.polynomial.legendre.leggauss(16)
    mean = (forecast.geopotential.values.mean(-1) * weights).sum(-1) / 2  # (trajectory, lead)
    spread = truth.std()
    # float32 values of about 1e5 m2 s-2: their own rounding is what is left.
    assert np.abs(mean - mean[:, :1]).max() < 1e-4 * spread


def test_a_package_that_was_moved_forecasts_the_same(
    workflow: Workflow, run_forecast: Run, tmp_path: Path
) -> None:
    package, out = tmp_path / "elsewhere", tmp_path / "forecast.nc"
    shutil.copytree(workflow.run / "best", package)
    (tmp_path / "config.yaml").write_text("rollout: {n_steps: 1}")  # of something else
    assert run_forecast("rollout", package, "--data", workflow.store, "--out", out) == 0
    ours, theirs = (xr.open_dataset(p, decode_timedelta=True) for p in (out, workflow.forecast))
    xr.testing.assert_identical(ours.drop_attrs(), theirs.drop_attrs())


def test_a_forecast_starts_from_the_split_of_its_package(
    workflow: Workflow, run_forecast: Run, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(workflow.run / "best", package)
    description = json.loads((package / "package.json").read_text())
    description["rollout"]["split"] = "validation"
    (package / "package.json").write_text(json.dumps(description))
    numbers = {}
    for name, words in (("theirs", ()), ("asked", ("--split", "test"))):
        out = tmp_path / f"{name}.nc"
        run = ("rollout", package, "--data", workflow.store, "--out", out, "--steps", 1, *words)
        assert run_forecast(*run) == 0
        numbers[name] = xr.open_dataset(out).trajectory_number.values.tolist()
    split = xr.open_zarr(workflow.store, consolidated=False).split.values
    assert [split[i] for i in numbers["theirs"]] == ["validation"] * len(numbers["theirs"])
    assert [split[i] for i in numbers["asked"]] == ["test"] * len(numbers["asked"])


def test_netcdf_and_zarr_forecasts_are_the_same(
    workflow: Workflow, run_forecast: Run, tmp_path: Path
) -> None:
    out = tmp_path / "forecast.zarr"
    assert run_forecast("rollout", workflow.run, "--data", workflow.store, "--out", out) == 0
    ours = xr.open_zarr(out, decode_timedelta=True)
    theirs = tmp_path / "forecast.nc"
    assert run_forecast("rollout", workflow.run, "--data", workflow.store, "--out", theirs) == 0
    xr.testing.assert_equal(ours.load(), xr.open_dataset(theirs, decode_timedelta=True).load())


def test_scores_hold_the_baseline_beside_the_model(workflow: Workflow) -> None:
    scores = xr.open_dataset(workflow.scores)
    assert {"model", "persistence"} <= set(scores.forecast.values)
    assert (scores.rmse.isel(lead_time=0) == 0).all()
    assert (scores.rmse.isel(lead_time=1) > 0).all()
    assert workflow.scores.with_suffix(".md").read_text().startswith("# ")


def test_a_picture_of_each_kind_is_drawn(
    workflow: Workflow, run_forecast: Run, tmp_path: Path
) -> None:
    there = tmp_path / "there.png"
    there.write_text("mine")
    variable = ("--variable", "vorticity")
    pictures = {
        "map": ("map", workflow.forecast, *variable, "--truth", workflow.store),
        "hovmoeller": ("hovmoeller", workflow.forecast, *variable),
        "section": ("section", workflow.forecast, *variable, "--region", "tropics"),
        "series": ("series", workflow.forecast, *variable, "--point", "45,10"),
        "scorecard": ("scorecard", workflow.scores, workflow.scores),
        "scores": ("scores", workflow.scores),
        "spectrum": ("spectrum", workflow.forecast, "--data", workflow.store),
    }
    for name, words in pictures.items():
        out = tmp_path / f"{name}.png"
        assert run_forecast("plot", *words, "--out", out) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
        assert run_forecast("plot", *words, "--out", there) == 2
    assert there.read_text() == "mine"


def test_training_goes_on_where_it_stopped(
    workflow: Workflow, run_forecast: Run, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ("train", "swe_smoke", "--data", workflow.store, "--out", run, "tracking.enabled=false")
    assert run_forecast(*words, "--dry-run") == 0
    assert not run.exists()
    assert run_forecast(*words) == 0
    before = (run / "package" / "model.safetensors").read_bytes()
    assert run_forecast(*words, "--resume") == 0
    assert (run / "package" / "model.safetensors").read_bytes() == before


def test_a_store_is_described(
    workflow: Workflow, run_forecast: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_forecast("data", "info", workflow.store) == 0
    shown = capsys.readouterr().out
    for fragment in ("legendre-gauss 16×32", "train 4", "geopotential", "m2 s-2"):
        assert fragment in shown


def reanalysis() -> xr.Dataset:
    """File of ten days in the layout of the Climate Data Store: waves that travel eastward."""
    time = np.datetime64("2020-01-01", "ns") + np.arange(40) * np.timedelta64(6, "h")
    latitude, longitude = np.linspace(90, -90, 17), np.arange(32) * 11.25
    wave = np.cos(np.radians(latitude))[:, None] * np.sin(2 * np.radians(longitude))
    turned = np.cos(np.radians(latitude))[:, None] * np.cos(2 * np.radians(longitude))
    phase = 0.2 * np.arange(40)[:, None, None]
    field = (np.cos(phase) * wave - np.sin(phase) * turned).astype("f4")  # (time, h, w)

    levels = ("valid_time", "pressure_level", "latitude", "longitude")
    surface = ("valid_time", "latitude", "longitude")
    both = np.stack([field, field], axis=1)
    return xr.Dataset(
        {
            "z": (levels, 5e4 + 800 * both, {"units": "m**2 s**-2"}),
            "t": (levels, 270 + 9 * both, {"units": "K"}),
            "u10": (surface, 8 * field, {"units": "m s**-1"}),
            "v10": (surface, -6 * field, {"units": "m s**-1"}),
        },
        {
            "valid_time": time,
            "pressure_level": ("pressure_level", [500.0, 850.0], {"units": "hPa"}),
            "latitude": latitude,
            "longitude": longitude,
        },
    )


@dataclass(frozen=True)
class Reanalysis:
    """Output of the commands for reanalysis files."""

    file: Path
    store: Path
    run: Path


@pytest.fixture(scope="session")
def trained_on_reanalysis(
    tmp_path_factory: pytest.TempPathFactory, run_forecast: Run
) -> Reanalysis:
    """Output of data preparation and training of the preset reanalysis_smoke."""
    folder = tmp_path_factory.mktemp("reanalysis")
    made = Reanalysis(folder / "era5.nc", folder / "store.zarr", folder / "run")
    reanalysis().to_netcdf(made.file)
    words = ("data", "ingest", "reanalysis_smoke", made.file, "--out", made.store)
    assert run_forecast(*words) == 0
    words = ("train", "reanalysis_smoke", "--data", made.store, "--out", made.run)
    assert run_forecast(*words, "tracking.enabled=false") == 0
    return made


def test_reanalysis_files_go_through_the_workflow(
    trained_on_reanalysis: Reanalysis, run_forecast: Run, tmp_path: Path
) -> None:
    store, run = trained_on_reanalysis.store, trained_on_reanalysis.run
    forecast, scores = tmp_path / "forecast.nc", tmp_path / "scores.nc"
    opened = xr.open_zarr(store, consolidated=False)
    assert [int((opened.split == name).sum()) for name in ("train", "validation", "test")] == [
        24,
        8,
        8,
    ]
    assert list(opened.channel.values) == ["z500", "t850", "u10", "v10"]
    assert run_forecast("rollout", run, "--data", store, "--out", forecast) == 0
    assert run_forecast("evaluate", forecast, "--data", store, "--out", scores) == 0
    assert np.isfinite(xr.open_dataset(scores).rmse.values).all()
    assert cf_errors(forecast) == []
    assert "2020-01-09 00:00:00" in cdo_sinfon(forecast)


def test_a_store_without_splits_gives_initial_states(
    trained_on_reanalysis: Reanalysis, run_forecast: Run, refused: Refused, tmp_path: Path
) -> None:
    made, starts = trained_on_reanalysis, tmp_path / "starts.zarr"
    words = ("data", "ingest", "reanalysis_smoke", made.file, "--out", starts)
    assert run_forecast(*words, "data.splits=null") == 0
    forecasts = {}
    for store in (made.store, starts):
        forecasts[store] = tmp_path / f"{store.name}.nc"
        words = ("rollout", made.run, "--data", store, "--init-time", "2020-01-09T06:00")
        assert run_forecast(*words, "--out", forecasts[store]) == 0
    ours, theirs = (xr.open_dataset(path, decode_timedelta=True) for path in forecasts.values())
    xr.testing.assert_equal(ours, theirs)
    line = refused("rollout", made.run, "--data", starts, "--out", tmp_path / "f.nc")
    assert "no splits at all" in line and "--init-time" in line


def test_a_store_without_splits_is_not_trained_on(
    run_forecast: Run, refused: Refused, tmp_path: Path
) -> None:
    file, store, run = (tmp_path / name for name in ("era5.nc", "store.zarr", "run"))
    reanalysis().to_netcdf(file)
    words = ("data", "ingest", "reanalysis_smoke", file, "--out", store)
    assert run_forecast(*words, "data.splits=null") == 0
    line = refused("train", "reanalysis_smoke", "--data", store, "--out", run)
    assert "no training split" in line
    assert not run.exists()
