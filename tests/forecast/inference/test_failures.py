"""Forecasts that are no longer finite: their place in the output, and the exit code."""

import os

import numpy as np
import pytest
import torch
import xarray as xr

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.failures import first_failures
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.model.points.fill import NearestFill
from forecast.training.processes import all_processes
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current
from tests.forecast.cli.test_processes import command
from tests.ranks import finish, run, start

GRID = Grid("cell-centred", 9, 12, 15.0)
BROKEN = [(0, 1, 4, 7), (0, 1, 4, 9), (0, 1, 8, 0), (0, 2, 0, 0), (3, 0, 8, 11), (4, 0, 2, 2)]
"""Forecast, channel, row and column of what is not finite; the last is outside the mask."""
EXPECTED = {0: (1, "0 N 225 E"), 3: (0, "80 S 345 E")}


def found_on(latitude: int) -> dict[int, tuple[int, str]]:
    """Return the failures that a rank of a mesh finds in five forecasts of three channels."""
    with all_processes(latitude):
        valid = torch.ones(3, *GRID.shape, dtype=torch.bool)
        valid[0, 2, 2] = False
        state = torch.ones(5, 3, *GRID.shape)
        for where in BROKEN:
            state[where] = torch.inf if where[3] % 2 else torch.nan
        own, rows = range(5)[current().data.part(5)], own_rows(GRID)
        here = state[own.start : own.stop, :, rows]
        return first_failures(here, valid[:, rows], GRID, own, 5)


def test_the_first_channel_and_point_are_named():
    assert found_on(1) == EXPECTED


def of_a_rank(latitude: int) -> None:
    assert found_on(latitude) == EXPECTED
    with all_processes(latitude):
        generator = torch.Generator().manual_seed(1)
        available = torch.rand(2, *GRID.shape, generator=generator) < 0.2
        wanted, rows = torch.ones_like(available), own_rows(GRID)
        fields = torch.randn(3, 2, *GRID.shape, generator=generator).where(available, torch.nan)
        found = NearestFill(available[:, rows], wanted[:, rows], GRID)(fields[:, :, rows])
        whole = current().gather_rows(found, GRID.nlat, everywhere=True)
    torch.testing.assert_close(whole, filled_alone(available, wanted, fields), rtol=0, atol=0)


def filled_alone(available, wanted, fields):
    return NearestFill(available, wanted, GRID)(fields)


@pytest.mark.parallel
@pytest.mark.parametrize(("data", "latitude"), [(1, 2), (2, 1), (1, 3), (2, 2)])
def test_all_processes_find_the_same_points_and_fill_from_the_same_ones(data, latitude):
    run(data * latitude, of_a_rank, latitude)


@pytest.fixture(scope="module")
def broken(make_store, tmp_path_factory):
    """Store, and a package whose forecasts overflow in the second step."""
    folder = tmp_path_factory.mktemp("broken")
    store = Store(make_store(folder / "store.zarr"))
    config = {"branches": {"spectral": {"lmax": 6}}, "channels": 4, "blocks": 1}
    forecaster = Forecaster.from_store(
        ModelConfig.model_validate({**config, "spectral_limit": None}), store
    )
    with torch.no_grad():
        forecaster.network.decoder.weight.fill_(1e25)
    save_package(forecaster, folder / "package")
    return store.path, folder / "package"


def test_a_rollout_that_loses_forecasts_has_its_own_exit_code(
    broken, run_forecast, capsys, tmp_path
):
    store, package = broken
    out = tmp_path / "f.nc"
    words = ("rollout", package, "--data", store, "--split", "train", "--steps", 5, "--out", out)
    assert run_forecast(*words) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if " ended: " in line]
    assert len(lines) == 4
    for number, line in enumerate(lines):
        assert f"trajectory {number}, 2000-01-01T00:00:00 ended: geopotential is not" in line
        assert "step 2 (lead time 2 h), first at 73.8 N 0 E; what came before is kept" in line
    with xr.open_dataset(out) as forecast:
        assert np.isfinite(forecast.geopotential[:, :2]).all()
        np.testing.assert_array_equal(forecast.last_step, [1] * 4)


@pytest.mark.parallel
def test_processes_that_lose_forecasts_agree_on_the_exit_code(broken, tmp_path):
    store, package = broken
    words = ["rollout", package, "--data", store, "--steps", 5, "--out", tmp_path / "f.zarr"]
    codes = finish(start(2, command, tmp_path, [str(w) for w in words]), timeout=60)
    assert codes == [3, 3]
    said = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert said[0].count(" ended: geopotential is not finite at step 2") == 1
    assert " ended: " not in said[1]
    assert (tmp_path / "f.zarr").is_dir() and os.listdir(tmp_path / "f.zarr")
