"""Statistics of periods in a forecast file: those of its snapshots, with bounds and counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store.reader import Store
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.forecast import run_rollout
from forecast.inference.output.options import OutputOptions
from forecast.inference.output.periods import Periods
from forecast.inference.reader import ForecastFile
from forecast.inference.writer import ForecastWriter
from sphere_ops.grid import Grid
from tests.forecast.stand_in import Turning

STATISTICS = {"mean": "mean", "std": "std", "min": "min", "max": "max"}


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    """Return a monthly series of four years with a mask."""
    path = tmp_path_factory.mktemp("periods") / "store.zarr"
    return make_store(path, "files", mask=True)


@pytest.fixture(scope="module")
def trajectories(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("periods") / "store.zarr")


def check(file: xr.Dataset, snapshots: xr.Dataset, key: str) -> None:
    """Compare the statistics of a file with those of all states, grouped by a part of the date.

    Args:
        file: File with statistics.
        snapshots: File with all states of the same forecasts.
        key: Format of the part of the date.
    """
    for f in range(file.sizes["init_time"]):
        one = snapshots.isel(init_time=f)
        one = one.assign_coords(part=("lead_time", one.valid_time.dt.strftime(key).values))
        for statistic, method in STATISTICS.items():
            groups = one[["sst", "t2m"]].astype("f8").groupby("part")
            expected = getattr(groups, method)("lead_time", skipna=False)
            count = one.valid_time.groupby("part").count()
            n = count.sizes["part"]
            np.testing.assert_array_equal(file.n_steps[f, :n], count)
            assert (file.n_steps[f, n:] == 0).all()
            for name in ("sst", "t2m"):
                found = file[f"{name}_{statistic}"][f]
                np.testing.assert_allclose(found[:n], expected[name], rtol=2e-6, atol=1e-6)
                assert found[n:].isnull().all()


def opened(path: Path) -> xr.Dataset:
    """Open a netCDF or zarr file, without dask."""
    if path.suffix == ".zarr":
        return xr.open_zarr(path, chunks=None)
    return xr.open_dataset(path)


@pytest.mark.parametrize(
    ("suffix", "period", "key"), [("nc", "1y", "%Y"), ("zarr", "1y", "%Y"), ("zarr", "all", "")]
)
def test_statistics_are_those_of_all_steps(store, tmp_path, suffix, period, key):
    settings = {"init_times": ["2000-01", "2001-08"], "n_steps": 17}
    path, whole = tmp_path / f"f.{suffix}", tmp_path / "whole.nc"
    run_rollout(Turning(store), store, path, every=5, output=OutputOptions(mean=period), **settings)
    run_rollout(Turning(store), store, whole, **settings)
    with opened(path) as file, xr.open_dataset(whole) as snapshots:
        assert file.sizes["lead_time"] == 4
        check(file, snapshots, key)


def test_half_years_are_counted_from_the_month_of_the_start(store, tmp_path):
    path = tmp_path / "f.nc"
    run_rollout(
        Turning(store),
        store,
        path,
        init_times=["2001-08"],
        n_steps=17,
        output=OutputOptions(mean="6mo"),
    )
    with xr.open_dataset(path) as file:
        assert file.n_steps.values.tolist() == [[6, 6, 6]]
        second = file.t2m[0].isel(lead_time=slice(6, 12)).astype("f8")
        np.testing.assert_allclose(file.t2m_std[0, 1], second.std("lead_time"), rtol=1e-6)


def test_the_file_says_what_the_statistics_are(store, tmp_path):
    path = tmp_path / "f.nc"
    options = OutputOptions(mean="1y", variables=("t2m",), snapshots=False)
    run_rollout(Turning(store), store, path, init_times=["2000-03"], n_steps=20, output=options)
    with xr.open_dataset(path) as file:
        assert set(file.data_vars) - {"n_steps", "period_bounds"} == {
            "t2m_mean", "t2m_std", "t2m_min", "t2m_max",
        }  # fmt: skip
        assert "lead_time" not in file.dims
        assert file.t2m_mean.dims == ("init_time", "period", "latitude", "longitude")
        assert file.t2m_mean.cell_methods == "time: mean (interval: 1 month)"
        assert file.t2m_std.cell_methods.startswith("time: standard_deviation")
        assert file.t2m_max.units == "K"
        assert file.n_steps.values.tolist() == [[10, 11]]
        assert file.period_time.bounds == "period_bounds"
        years = file.period_bounds.values.astype("M8[D]").astype(str).tolist()
        assert years == [[["2000-01-01", "2001-01-01"], ["2001-01-01", "2002-01-01"]]]
        np.testing.assert_array_equal(file.period_time, file.period_bounds[..., 0])
    with pytest.raises(ValueError, match="statistics of periods alone.*--no-snapshots"):
        ForecastFile(path)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_forecast_that_ends_early_counts_the_steps_before(trajectories, tmp_path, suffix):
    model, path = Turning(trajectories), tmp_path / f"f.{suffix}"
    model.fails = {1: 4}
    options = OutputOptions(mean="2h")
    run_rollout(model, trajectories, path, split="train", n_steps=5, output=options)
    with opened(path) as file:
        counts = file.n_steps.values.tolist()
        assert counts == [[2, 2, 2], [2, 2, 0], [2, 2, 2], [2, 2, 2]]
        expected = file.vorticity[1, 2:4].mean("lead_time")
        np.testing.assert_allclose(file.vorticity_mean[1, 1], expected, rtol=1e-6, atol=1e-9)
        assert file.vorticity_mean[1, 2].isnull().all()
        assert np.isfinite(file.vorticity_mean[0]).all()


def test_derived_variables_are_averaged_too(trajectories, tmp_path):
    options = OutputOptions(mean="all", derive=("wind_speed",), variables=("wind_speed",))
    run_rollout(Turning(trajectories), trajectories, tmp_path / "f.nc", n_steps=5, output=options)
    with xr.open_dataset(tmp_path / "f.nc") as file:
        assert file.attrs["channels"] == ""
        mean = file.wind_speed.astype("f8").mean("lead_time")
        np.testing.assert_allclose(file.wind_speed_mean[:, 0], mean, rtol=1e-6)
        assert float(mean.min()) > 0
    found = ForecastFile(tmp_path / "f.nc")
    assert found.derived_names == ("wind_speed",)
    assert found.field("wind_speed", 0, 2).shape == found.grid.shape
    with pytest.raises(ValueError, match="holds no channel of the model, only wind_speed"):
        found.check_fits(Store(trajectories))


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_each_member_has_its_own_statistics(tmp_path, suffix):
    grid, step = Grid.legendre_gauss(4, 8), TimeStep.parse("6h")
    start = np.array(["2001-01-01"], dtype="M8[ns]").repeat(2)
    axes = ForecastAxes(
        grid, [variable("t2m")], step, start, np.arange(8),
        member=np.arange(3), periods=Periods("1d", step, start, 7),
    )  # fmt: skip
    values = torch.randn(6, 4, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"f.{suffix}"
    with ForecastWriter(path, axes, {"title": "A forecast"}) as writer:
        writer.write_period([1, 2, 3], 1, values[1:4])
        writer.end(4, 5)
    with opened(path) as file:
        assert file.t2m_max.dims[:3] == ("init_time", "member", "period")
        np.testing.assert_array_equal(file.t2m_max[0, 1:, 1], values[1:3, 3, 0])
        np.testing.assert_array_equal(file.t2m_mean[1, 0, 1], values[3, 0, 0])
        assert int(file.t2m_min.count()) == 3 * 32
        assert file.n_steps.values.tolist() == [[[4, 4]] * 3, [[4, 4], [4, 2], [4, 4]]]


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="leaves nothing to write without --mean"):
        OutputOptions(snapshots=False)
    with pytest.raises(ValueError, match="has no statistics of periods; leave out --mean 1d"):
        OutputOptions(mean="1d", layout="weatherbench2")
