"""Ensembles in forecast files: members, their seeds, earlier starts and several models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.inference.rollout import rollout
from forecast.model.package import save_package
from forecast.model.state import State
from sphere_ops.grid import Grid
from tests.forecast.inference.ensemble.conftest import make_forecaster
from tests.forecast.stand_in import Turning

FIELD = "field:amplitude=0.5,length=3000km"
BRED = "bred:amplitude=0.5,cycles=2,length=3000km"


@pytest.fixture(scope="module")
def model(store):
    return make_forecaster(store)


def forecast(model, store: Path, out: Path, **options) -> xr.Dataset:
    run_rollout(model, store, out, device="cpu", **{"n_steps": 2, **options})
    with xr.open_dataset(out) as file:
        return file.load()


def largest_difference(a: xr.Dataset, b: xr.Dataset) -> float:
    """Return the largest difference of two forecasts relative to the spread of the field."""
    return max(
        float(abs(a[name] - b[name]).max() / b[name].std()) for name in ("vorticity", "divergence")
    )


@pytest.mark.parametrize("perturb", [[FIELD], [BRED], ["lagged", FIELD]], ids=str)
def test_a_member_is_the_same_for_any_number_of_members_and_any_batch(
    model, store, tmp_path, perturb
):
    options = {"perturbations": perturb, "seed": 3, "n_steps": 1}
    few = forecast(model, store, tmp_path / "2.nc", members=2, batch_size=1, **options)
    many = forecast(model, store, tmp_path / "5.nc", members=5, batch_size=4, **options)
    assert many.sizes["member"] == 5 and few.member.values.tolist() == [0, 1]
    if "lagged" in perturb:  # with more members the forecasts begin later
        few = forecast(
            model, store, tmp_path / "3.nc", members=2, init_times=["2000-01-01T04"], **options
        )
    # The same numbers but for rounding, which depends on the size of products of matrices.
    assert largest_difference(few, many.isel(member=[0, 1])) < 1e-4
    assert largest_difference(few.isel(member=0), few.isel(member=1)) > 0.1
    other = forecast(model, store, tmp_path / "s.nc", members=2, **options | {"seed": 4})
    assert largest_difference(few.isel(member=1), other.isel(member=1)) > 0.1


def test_members_of_trajectories_at_the_same_time_have_differences_of_their_own(
    model, store, tmp_path
):
    file = forecast(
        model, store, tmp_path / "f.nc", split="train", members=1, perturbations=[FIELD]
    )
    stored = Store(store)
    change = [file.geopotential[i, 0, 0].values - stored.state(i)[0].numpy() for i in range(2)]
    assert abs(np.corrcoef(change[0].ravel(), change[1].ravel())[0, 1]) < 0.9


def test_a_file_records_what_made_its_members(model, store, tmp_path):
    file = forecast(
        model, store, tmp_path / "f.nc", members=2, perturbations=[FIELD, "balanced"], seed=7
    )
    assert file.attrs["seed"] == "7"
    assert file.attrs["perturbations"].startswith("field:amplitude=0.5,channels=all,length=3000km")
    assert "; balanced:amplitude=0.1" in file.attrs["perturbations"]
    alone = forecast(model, store, tmp_path / "alone.nc")
    assert not {"seed", "perturbations"} & alone.attrs.keys() and "member" not in alone.dims


def test_perturbations_add_up_and_two_of_a_kind_differ(model, store, tmp_path):
    stored = Store(store).state(5).numpy()

    def changes(*texts: str) -> np.ndarray:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.nc"
        file = forecast(model, store, out, members=1, perturbations=texts)
        return file.geopotential[0, 0, 0].values - stored[0]

    one, both = changes(FIELD), changes(FIELD, "field:amplitude=0.1")
    second = both - one
    size = 0.1 * Store(store).statistics["std_step"][0].item()
    assert 0.3 * size < second.std() < 3 * size
    assert abs(np.corrcoef(second.ravel(), one.ravel())[0, 1]) < 0.95


def test_lagged_members_are_forecasts_from_earlier_states(model, store, tmp_path):
    file = forecast(
        model, store, tmp_path / "f.nc", members=3, perturbations=["lagged:interval=2h"]
    )
    stored = Store(store)
    # The first start has the four states before it that the last member needs.
    assert file.init_time.values[0] == stored.time[4]
    for member in range(3):
        first = 4 - 2 * member
        state = State(stored.state(5, first)[None], stored.time[first : first + 1])
        steps = [state, *rollout(model, state, 2 * member + 2)][2 * member :]
        expected = torch.cat([s.fields for s in steps]).numpy()
        for c, name in enumerate(stored.channel_names):
            np.testing.assert_allclose(
                file[name][0, member], expected[:, c], rtol=1e-4, atol=1e-4 * expected[:, c].std()
            )


def test_starts_without_earlier_states_are_left_out_or_refused(series, tmp_path):
    model = make_forecaster(series)
    options = {"members": 3, "perturbations": ["lagged:interval=2"], "n_steps": 1}
    file = forecast(model, series, tmp_path / "f.nc", split="train", **options)
    assert file.init_time.values[0] == np.datetime64("2000-05-01") and len(file.init_time) == 20
    with pytest.raises(
        ValueError, match=r"the members need the 4 states .*--perturb.*first .* is 2000-05-01.*not"
    ):
        forecast(model, series, tmp_path / "g.nc", init_times=["2000-02"], **options)
    with pytest.raises(ValueError, match="has 48 times, the members need the 50 states before"):
        forecast(
            model, series, tmp_path / "g.nc", **options | {"perturbations": ["lagged:interval=25"]}
        )
    assert not (tmp_path / "g.nc").exists()


def test_masked_points_stay_missing_in_perturbed_members(series, tmp_path):
    model = make_forecaster(series)
    for perturb in (FIELD, "bred:cycles=2"):
        out = tmp_path / f"{perturb[:4]}.nc"
        file = forecast(model, series, out, members=2, perturbations=[perturb], split="test")
        valid = Store(series).mask.numpy()
        for c, name in enumerate(("sst", "t2m")):
            np.testing.assert_array_equal(np.isfinite(file[name].values).all((0, 1, 2)), valid[c])
        assert float(file.sst.std("member").isel(lead_time=0).mean()) > 0


@pytest.mark.parametrize("history", [1, 2])
def test_bred_vectors_have_the_amplitude_in_the_norm_and_grow_faster_than_random_ones(
    store, tmp_path, history
):
    model = make_forecaster(store, history=history)
    stored, growth = Store(store), {}
    for kind in ("bred:cycles=3,norm=vorticity,amplitude=0.01", "field:amplitude=0.01"):
        out = tmp_path / f"{kind[:4]}.nc"
        file = forecast(
            model, store, out, members=3, perturbations=[kind], init_times=["2000-01-01T06"]
        )
        control = forecast(
            model, store, tmp_path / f"{kind[:4]}_control.nc", init_times=["2000-01-01T06"]
        )
        difference = (file.vorticity - control.vorticity)[0].values  # (m, k, h, w)
        weights = stored.grid.area_weights.numpy()
        size = np.sqrt((weights * difference**2).sum((-2, -1)))
        growth[kind[:4]] = (size[:, 1] / size[:, 0]).mean()
        if kind.startswith("bred"):
            expected = 0.01 * stored.statistics["std_step"][1].item()
            np.testing.assert_allclose(size[:, 0], expected, rtol=1e-3)
    assert growth["bred"] > 1.1 * growth["fiel"]


def test_members_take_the_packages_in_turn(model, store, tmp_path):
    other = make_forecaster(store, seed=1)
    save_package(model, tmp_path / "a")
    save_package(other, tmp_path / "b")
    options = {"batch_size": 3, "n_steps": 1}
    both = forecast([tmp_path / "a", tmp_path / "b"], store, tmp_path / "ab.nc", **options)
    assert both.sizes["member"] == 2 and "/a (sha256" in both.source and "/b (sha256" in both.source
    for member, package in enumerate("ab"):
        alone = forecast(tmp_path / package, store, tmp_path / f"{package}.nc", **options)
        assert largest_difference(both.isel(member=member), alone) < 1e-4


def test_an_ensemble_holds_no_more_states_than_a_single_forecast(store, tmp_path):
    """Count the samples that a model is given at once."""
    model, counts = make_forecaster(store), []
    step = model.step
    model.step = lambda state, *more: (counts.append(len(state.fields)), step(state, *more))[1]
    forecast(
        model, store, tmp_path / "f.nc", members=50, perturbations=[FIELD], batch_size=4, n_steps=1
    )
    assert max(counts) == 4 and sum(counts) == 50


def test_a_member_that_is_not_finite_ends_and_the_others_go_on(store, tmp_path):
    model = make_forecaster(store)
    step = model.step

    def failing(state, *more):
        following = step(state, *more)
        following.fields[1, 0, 0, 0] = torch.nan
        return following

    model.step = failing
    run_rollout(
        model, store, tmp_path / "f.nc", members=3, perturbations=[FIELD], n_steps=2, batch_size=3
    )
    with xr.open_dataset(tmp_path / "f.nc") as file:
        assert file.last_step.values.tolist() == [[2, 0, 2]]


def test_a_member_that_is_not_finite_before_its_start_ends_there(store, tmp_path):
    model = make_forecaster(store)
    step = model.step

    def failing(state, *more):
        following = step(state, *more)
        before_the_start = following.time <= np.datetime64("2000-01-01T02")
        following.fields[torch.from_numpy(before_the_start), 1, 2, 3] = torch.nan
        return following

    model.step = failing
    options = {"members": 3, "perturbations": ["lagged"], "n_steps": 2}
    ended = run_rollout(model, store, tmp_path / "f.nc", **options)
    assert [(e.member, e.step) for e in ended] == [(1, 0), (2, 0)]
    file = ForecastFile(tmp_path / "f.nc")
    assert file.member_last_step.tolist() == [[2, -1, -1]]
    assert np.isfinite(file.states(0, slice(0, 3), 0)).all()
    assert np.isnan(file.states(0, slice(0, 3), 1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbations": [FIELD]}, "--perturb makes members of an ensemble; say how many with"),
        ({"members": 3}, "3 members of 1 model without noise are equal; make them differ with"),
        ({"members": 0}, "--members 0; expected 1 to 10000"),
        ({"members": 2, "perturbations": [FIELD], "seed": -1}, "--seed -1; expected a whole"),
        ({"members": 2, "perturbations": ["field:length=5"]}, "length is '5'; expected a positive"),
    ],
)
def test_an_ensemble_that_makes_no_sense_is_refused_before_anything_is_done(
    store, tmp_path, options, message
):
    with pytest.raises(ValueError, match=message):
        forecast(Turning(store), store, tmp_path / "f.nc", **options)
    assert not list(tmp_path.iterdir())


def test_models_that_differ_are_refused(model, store, tmp_path):
    other = make_forecaster(store)
    other.time_step = TimeStep.parse("2h")
    with pytest.raises(ValueError, match=r"the same time step: .* has 1h, .* has 2h; forecast"):
        forecast([model, other], store, tmp_path / "f.nc")


def test_models_of_another_grid_are_members_on_the_grid_of_the_store(
    model, store, make_store, tmp_path
):
    finer = make_store(tmp_path / "finer.zarr", nlat=10, nlon=20, n_times=10)
    file = forecast(
        [model, make_forecaster(store, seed=1)],
        finer,
        tmp_path / "f.nc",
        members=2,
        perturbations=[FIELD],
        n_steps=1,
    )
    assert file.sizes["latitude"] == 10 and np.isfinite(file.vorticity).all()
    assert Store(finer).grid == Grid.legendre_gauss(10, 20)
