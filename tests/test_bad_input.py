"""Bad input on the command line: one line per error, and no files left or lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.workflow import Workflow

Refused = Callable[..., str]


def test_an_output_that_exists_is_refused_and_left_alone(
    workflow: Workflow, refused: Refused
) -> None:
    before = workflow.scores.read_bytes()
    for words in (
        ("data", "swe", "swe_smoke", "--out", workflow.store),
        ("data", "export", workflow.store, "--out", workflow.forecast),
        ("train", "swe_smoke", "--data", workflow.store, "--out", workflow.run),
        ("rollout", workflow.run, "--data", workflow.store, "--out", workflow.forecast),
        ("evaluate", workflow.forecast, "--data", workflow.store, "--out", workflow.scores),
    ):
        assert "exists" in refused(*words)
    assert workflow.scores.read_bytes() == before


def test_a_missing_input_is_named(workflow: Workflow, refused: Refused, tmp_path: Path) -> None:
    absent, out = tmp_path / "absent", tmp_path / "out.nc"
    for words in (
        ("data", "info", absent),
        ("data", "export", absent, "--out", out),
        ("data", "ingest", "sst", absent, "--out", out),
        ("train", "swe_smoke", "--data", absent, "--out", out),
        ("rollout", absent, "--data", workflow.store, "--out", out),
        ("rollout", workflow.run, "--data", absent, "--out", out),
        ("evaluate", absent, "--data", workflow.store, "--out", out),
        ("evaluate", workflow.forecast, "--data", absent, "--out", out),
        *(
            ("plot", kind, absent, "--variable", "v", "--out", tmp_path / "p.png")
            for kind in ("map", "hovmoeller", "section", "series", "spaghetti", "spread")
        ),
        ("plot", "animation", absent, "--variable", "v", "--out", tmp_path / "p.gif"),
        *(
            ("plot", kind, absent, "--out", tmp_path / "p.png")
            for kind in ("scorecard", "ranks", "reliability")
        ),
        ("plot", "scores", absent, "--out", tmp_path / "p.png"),
        ("plot", "spectrum", absent, "--data", workflow.store, "--out", tmp_path / "p.png"),
        ("runs", "--uri", f"sqlite:///{absent}"),
    ):
        assert str(absent) in refused(*words), words
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_something_else_is_refused(
    workflow: Workflow, refused: Refused, tmp_path: Path
) -> None:
    text = tmp_path / "notes.nc"
    text.write_text("not a netCDF file")
    out = tmp_path / "out.nc"
    for words in (
        ("data", "info", text),
        ("data", "ingest", "sst", text, "--out", tmp_path / "out.zarr"),
        ("train", "swe_smoke", "--data", text, "--out", out),
        ("rollout", text, "--data", workflow.store, "--out", out),
        ("evaluate", text, "--data", workflow.store, "--out", out),
        *(
            ("plot", kind, text, "--variable", "v", "--out", tmp_path / "p.png")
            for kind in ("map", "hovmoeller", "section", "series", "spaghetti", "spread")
        ),
        ("plot", "animation", text, "--variable", "v", "--out", tmp_path / "p.gif"),
        *(
            ("plot", kind, text, "--out", tmp_path / "p.png")
            for kind in ("scorecard", "ranks", "reliability")
        ),
        ("plot", "scores", text, "--out", tmp_path / "p.png"),
    ):
        assert "notes.nc" in refused(*words), words
    assert list(tmp_path.iterdir()) == [text]


def test_a_package_of_another_version_is_refused(
    workflow: Workflow, refused: Refused, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(workflow.run / "best", package)
    description = json.loads((package / "package.json").read_text())
    description["format_version"] = 99
    (package / "package.json").write_text(json.dumps(description))
    out = tmp_path / "out.nc"
    line = refused("rollout", package, "--data", workflow.store, "--out", out)
    assert "format version 99" in line
    assert not out.exists()


def test_an_unknown_variable_of_a_plot_is_told_the_known_ones(
    workflow: Workflow, refused: Refused, tmp_path: Path
) -> None:
    out = tmp_path / "p.png"
    line = refused("plot", "map", workflow.forecast, "--variable", "vortcity", "--out", out)
    assert "vorticity" in line
    assert not out.exists()


def series() -> xr.Dataset:
    """File with two years of monthly sea surface temperature on a global grid."""
    time = np.arange("2000-01", "2002-01", dtype="M8[M]").astype("M8[ns]")
    latitude, longitude = 82.5 - 15.0 * np.arange(12), 7.5 + 15.0 * np.arange(24)
    values = np.random.default_rng(0).normal(15, 5, (24, 12, 24)).astype("f4")
    return xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "degC"})},
        {
            "time": time,
            "lat": ("lat", latitude, {"units": "degrees_north"}),
            "lon": ("lon", longitude, {"units": "degrees_east"}),
        },
    )


BAD_FILES: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], tuple[str, ...], str]] = {
    "variable that is not there": (lambda d: d.rename(sst="salt"), (), "salt"),
    "regional grid": (lambda d: d.isel(lat=slice(3, 9)), (), "global"),
    "gap in time": (lambda d: d.isel(time=[*range(5), *range(7, 24)]), (), "gap"),
    "duplicate in time": (lambda d: d.isel(time=[0, 1, 1, 2]), (), "duplicate"),
    "missing values and no mask": (
        lambda d: d.where(d.lat < 80),
        ("data.mask=[]",),
        "mask",
    ),
}


@pytest.mark.parametrize(
    ("splits", "fragment"),
    [
        ("{train: 0.6, validation: 0.2, test: 0.2}", "data.splits.validation is 0.2 of 3 times"),
        ("{train: 0.4, validation: 0.3, test: 0.3}", "data.splits.train holds 1 of the 3 times"),
    ],
)
def test_splits_too_short_for_statistics_are_refused(
    splits: str, fragment: str, refused: Refused, tmp_path: Path
) -> None:
    path, out = tmp_path / "in.nc", tmp_path / "store.zarr"
    series().isel(time=slice(3)).to_netcdf(path)
    words = ("data", "ingest", "sst", path, "--out", out, f"data.splits={splits}")
    assert fragment in refused(*words)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_and_leaves_nothing(
    name: str, refused: Refused, tmp_path: Path
) -> None:
    spoil, settings, fragment = BAD_FILES[name]
    path, out = tmp_path / "in.nc", tmp_path / "store.zarr"
    spoil(series()).to_netcdf(path)
    years = "data.splits={train: {first: 2000, last: 2000}, validation: {first: 2001-01, last: "
    years += "2001-06}, test: {first: 2001-07, last: 2001-12}}"
    line = refused("data", "ingest", "sst", path, "--out", out, years, *settings)
    assert fragment in line
    assert list(tmp_path.iterdir()) == [path]


def test_the_option_of_other_tools_for_overrides_is_told_the_syntax(
    refused: Refused, tmp_path: Path
) -> None:
    out = tmp_path / "store.zarr"
    for words in (
        ("data", "ingest", "sst", "in.nc", "--out", out, "--set", "data.splits=null"),
        ("data", "swe", "swe_smoke", "--out", out, "--set", "data.lmax=11"),
        ("train", "swe_smoke", "--data", out, "--out", out, "--set", "training.steps=1"),
    ):
        assert "KEY=VALUE" in refused(*words), words


def test_a_misspelt_override_among_files_is_no_path(refused: Refused, tmp_path: Path) -> None:
    path, out = tmp_path / "in.nc", tmp_path / "store.zarr"
    series().to_netcdf(path)
    line = refused("data", "ingest", "sst", path, "data.split=null", "--out", out)
    assert "unknown key data.split" in line and "splits" in line
    line = refused("data", "ingest", "sst", "data.splits=null", "--out", out)
    assert "no input file" in line


def test_a_file_whose_name_has_an_equals_sign_is_a_file(
    run_forecast: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    series().to_netcdf("run=1.nc")
    assert (
        run_forecast("data", "ingest", "sst", "run=1.nc", "data.splits=null", "--out", "s.zarr")
        == 0
    )
