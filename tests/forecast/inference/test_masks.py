"""Forecasts from a store with another mask than that of training: refusal, or filled points."""

import shutil

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.failures import EarlyStop
from forecast.inference.forecast import run_rollout
from forecast.inference.initial_states import InitialStates
from forecast.model.forecaster import Forecaster
from forecast.model.package import save_package
from forecast.model.points.fill import NearestFill
from sphere_ops.grid import Grid
from tests.forecast.stand_in import Turning

CONFIG = {"branches": {"spectral": {"lmax": 6}}, "channels": 4, "blocks": 1, "history": 2}


def great_circle(grid: Grid, point: tuple[int, int]) -> torch.Tensor:
    """Return the distance of all points from one, radians."""
    latitude, longitude = torch.deg2rad(grid.latitude)[:, None], torch.deg2rad(grid.longitude)
    here, there = latitude[point[0], 0], longitude[point[1]]
    cosine = torch.sin(latitude) * torch.sin(here) + torch.cos(latitude) * torch.cos(
        here
    ) * torch.cos(longitude - there)
    return torch.arccos(cosine.clamp(-1, 1))


def masked_as(path, copy, mask):
    """Copy a store with another mask; newly valid points have the value 7."""
    shutil.copytree(path, copy)
    group = zarr.open_group(copy)
    fields = group["fields"][...]
    group["fields"][...] = np.where(mask, np.nan_to_num(fields, nan=7.0), np.nan)
    group["mask"][...] = mask.astype(np.int8)
    return copy


@pytest.fixture(scope="module")
def stores(make_store, tmp_path_factory):
    """Store, and a copy that lacks 5 of its points and has 3 more."""
    folder = tmp_path_factory.mktemp("masks")
    path = make_store(folder / "store.zarr", "files", mask=True)
    mask = Store(path).mask.numpy()
    mask[0, 2, 8:13] = False
    mask[0, 3, 4:7] = True
    return path, masked_as(path, folder / "other.zarr", mask)


@pytest.fixture(scope="module")
def package(stores, tmp_path_factory):
    """Package of a model with the mask of the first store and a tendency that is not zero."""
    torch.manual_seed(0)
    forecaster = Forecaster.from_store(ModelConfig.model_validate(CONFIG), Store(stores[0]))
    with torch.no_grad():
        forecaster.network.decoder.weight.normal_(std=0.3)
    path = tmp_path_factory.mktemp("model") / "package"
    save_package(forecaster, path)
    return path


def test_missing_points_take_the_value_of_the_nearest_one_on_the_sphere():
    """Check also across the date line and the pole."""
    grid = Grid("cell-centred", 8, 12, 15.0)
    generator = torch.Generator().manual_seed(1)
    available = torch.rand(2, *grid.shape, generator=generator) < 0.15
    wanted = torch.rand(2, *grid.shape, generator=generator) < 0.7
    fields = torch.randn(3, 2, *grid.shape, generator=generator)
    found = NearestFill(available, wanted, grid)(fields.where(available, torch.nan))
    assert torch.equal(found.isfinite(), (available | wanted).expand_as(found))
    for c, row, column in (wanted & ~available).nonzero().tolist():
        distance = great_circle(grid, (row, column)).where(available[c], torch.inf)
        nearest = distance <= distance.min() + 1e-9
        for x, y in zip(found[:, c, row, column], fields[:, c], strict=True):
            assert x in y[nearest]


def test_a_store_with_another_mask_is_refused_before_the_first_step(stores, package, tmp_path):
    with pytest.raises(ValueError, match=r"sst at 5 of 120 points; .* --fill nearest"):
        run_rollout(package, stores[1], tmp_path / "f.nc", n_steps=2)
    assert not list(tmp_path.iterdir())


def test_the_command_says_how_many_points_and_fills_them(stores, package, refused, tmp_path):
    words = ("rollout", package, "--data", stores[1], "--out", tmp_path / "f.nc")
    line = refused(*words)
    assert "sst at 5 of 120 points" in line and "--fill nearest" in line


def test_a_filled_forecast_is_that_of_the_filled_state(
    stores, package, run_forecast, tmp_path, caplog
):
    out = tmp_path / "f.nc"
    words = ("rollout", package, "--data", stores[1], "--out", out, "--steps", 3)
    assert run_forecast(*words, "--fill", "nearest") == 0
    mask = Store(stores[0]).mask.numpy()
    other = Store(stores[1])
    points = [(0, 2, column) for column in range(8, 13)]
    with xr.open_dataset(out) as file:
        assert "sst at 5 of 120 points" in file.attrs["comment"]
        assert "other.zarr" in file.attrs["comment"]
        for c, name in enumerate(("sst", "t2m")):
            for step in range(4):  # inside the model's mask, and nowhere else
                finite = np.isfinite(file[name].values[:, step])
                np.testing.assert_array_equal(finite, np.broadcast_to(mask[c], finite.shape))
        start = file.sst.values[0, 0]
    state = other.state(36).numpy()
    kept = mask[0] & other.mask.numpy()[0]
    np.testing.assert_array_equal(start[kept], state[0][kept])
    for _, row, column in points:
        distance = great_circle(other.grid, (row, column)).where(other.mask[0], torch.inf).numpy()
        assert start[row, column] in state[0][distance <= distance.min() + 1e-9]


def test_a_smoothly_filled_state_has_means_of_its_surroundings(
    stores, package, run_forecast, tmp_path
):
    out = tmp_path / "f.nc"
    words = ("rollout", package, "--data", stores[1], "--out", out, "--steps", 3)
    assert run_forecast(*words, "--fill", "smooth") == 0
    mask, other = Store(stores[0]).mask[0].numpy(), Store(stores[1])
    there, state = other.mask.numpy()[0], other.state(36).numpy()[0]
    with xr.open_dataset(out) as file:
        assert "filled by a smooth extension" in file.attrs["comment"]
        start = file.sst.values[0, 0]
        assert np.isfinite(file.sst.values[:, :, mask]).all()
    np.testing.assert_array_equal(np.isfinite(start), mask)
    np.testing.assert_array_equal(start[mask & there], state[mask & there])
    filled = start[mask & ~there]
    assert len(filled) == 5 and len(np.unique(filled)) == 5
    assert (filled > np.nanmin(state)).all() and (filled < np.nanmax(state)).all()


def test_values_outside_the_mask_of_the_model_change_nothing(stores, package, tmp_path):
    """Start from a store that has more valid points than the model needs."""
    more = masked_as(stores[0], tmp_path / "more.zarr", np.ones((2, 8, 16), dtype=bool))
    run_rollout(package, stores[0], tmp_path / "f.nc", n_steps=3)
    run_rollout(package, more, tmp_path / "g.nc", n_steps=3, fill="nearest")
    with xr.open_dataset(tmp_path / "f.nc") as f, xr.open_dataset(tmp_path / "g.nc") as g:
        assert f.sst[:, 3].std() > 0 and "comment" not in g.attrs
        xr.testing.assert_equal(f, g)


def test_a_model_without_a_mask_is_given_all_points(stores, make_store, tmp_path):
    model = Turning(make_store(tmp_path / "whole.zarr", "files"))
    with pytest.raises(ValueError, match="sst at 10 of 128 points"):
        run_rollout(model, stores[1], tmp_path / "f.nc", n_steps=2)
    reports = run_rollout(model, stores[1], tmp_path / "f.nc", n_steps=2, fill="nearest")
    assert not any(isinstance(report, EarlyStop) for report in reports)
    with xr.open_dataset(tmp_path / "f.nc") as file:
        assert np.isfinite(file.sst.values).all()


def test_only_points_under_the_mask_of_the_model_end_a_forecast(stores, tmp_path):
    """Use a store whose mask differs from that of the model."""
    model = Turning(stores[0])
    row, column = 3, 5
    step = model.step

    def broken(state):
        following = step(state)
        following.fields[:, 0, row, column] = torch.inf
        return following

    model.step = broken
    reports = run_rollout(model, stores[1], tmp_path / "f.nc", n_steps=2, fill="nearest")
    assert not any(isinstance(report, EarlyStop) for report in reports)


def test_a_value_that_both_masks_leave_in_is_not_filled(stores, package, tmp_path):
    path = shutil.copytree(stores[1], tmp_path / "store.zarr")
    zarr.open_group(path)["fields"][40, 0, 6, 6] = np.nan
    with pytest.raises(ValueError, match=r"missing values of sst at 2003-05.*first at .* S 135 E"):
        run_rollout(package, path, tmp_path / "f.nc", n_steps=2, fill="nearest")


def test_a_channel_without_any_value_cannot_be_filled(stores, package, tmp_path):
    mask = Store(stores[0]).mask.numpy()
    mask[0] = False
    path = masked_as(stores[0], tmp_path / "none.zarr", mask)
    with pytest.raises(ValueError, match="no values of sst at all"):
        run_rollout(package, path, tmp_path / "f.nc", n_steps=2, fill="nearest")


@pytest.mark.data
def test_real_sea_surface_temperature_under_another_coast(
    data_folder, run_forecast, refused, tmp_path, caplog
):
    """Use COBE-SST2 with a few hundred coastal cells changed to land, and some land to sea."""
    file = data_folder / "sst/cobe2_sst_monthly_1950-2009_2deg.nc"
    with xr.open_dataset(file) as whole:
        here = whole.isel(time=slice(48)).load()
    name = next(n for n, v in here.data_vars.items() if v.ndim == 3)
    sea = np.isfinite(here[name].values).all(0)
    neighbours = sum(np.roll(sea, shift, axis=1).astype(int) for shift in (-1, 1))
    flooded = np.flatnonzero(~sea & (neighbours > 0))[::4]
    dried = np.flatnonzero(sea & (neighbours < 2))[::2]
    there = here.copy(deep=True)
    values = there[name].values.reshape(48, -1)
    values[:, flooded], values[:, dried] = 4.0, np.nan
    splits = "data.splits={train: {first: 1950, last: 1951}, validation: {first: 1952, last: "
    splits += "1952}, test: {first: 1953, last: 1953}}"
    for data, path in ((here, "here"), (there, "there")):
        data.to_netcdf(tmp_path / f"{path}.nc")
        words = ("data", "ingest", "sst", tmp_path / f"{path}.nc", splits)
        assert run_forecast(*words, "--out", tmp_path / f"{path}.zarr") == 0
    config = ModelConfig.model_validate({**CONFIG, "baseline": "climatology"})
    save_package(Forecaster.from_store(config, Store(tmp_path / "here.zarr")), tmp_path / "package")
    out = tmp_path / "f.nc"
    words = ("rollout", tmp_path / "package", "--data", tmp_path / "there.zarr", "--steps", 2)
    line = refused(*words, "--out", out)
    assert 100 < len(dried) < 1000
    assert f"sst at {len(dried):,} of {sea.sum():,} points" in line
    assert run_forecast(*words, "--out", out, "--fill", "nearest") == 0
    with xr.open_dataset(out) as forecast:
        finite = np.isfinite(forecast.sst.values)
        np.testing.assert_array_equal(finite, np.broadcast_to(sea, finite.shape))


def test_states_are_read_as_they_are_where_both_masks_agree(stores):
    store, model = Store(stores[0]), Turning(stores[0])
    model.n_history = 1
    states = InitialStates(store, model, "train")
    found = states.read([2, 6])
    assert [states.starts[i] for i in (2, 6)] == [(3, 0), (7, 0)]
    series = torch.stack(found.series, 1)
    torch.testing.assert_close(series[1], store.states(6, 0, 2), rtol=0, atol=0, equal_nan=True)
    np.testing.assert_array_equal(found.time, store.time[[3, 7]])
    assert states.comment == ""
