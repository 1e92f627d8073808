"""Spectra, coherence and conserved quantities in a scores file."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.verification import metrics
from forecast.verification.evaluate import evaluate
from forecast.verification.sampled.conserved import ConservedTotals
from forecast.verification.truth import Truth
from tests.forecast.stand_in import Turning

N_STEPS = 3


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    path = make_store(folder / "store.zarr", orography=False)
    run_rollout(Turning(path, 0.9), path, folder / "f.nc", split="train", n_steps=N_STEPS)
    return path


@pytest.fixture(scope="module")
def scored(store, tmp_path_factory):
    return evaluate(store.parent / "f.nc", store, tmp_path_factory.mktemp("scores") / "s.nc")


@pytest.fixture(scope="module")
def fields(store):
    """Return forecast and truth, (n, k, c, nlat, nlon)."""
    held = Store(store)
    truth = np.stack([held.states(i, 0, N_STEPS + 1).numpy() for i in range(4)])
    with xr.open_dataset(store.parent / "f.nc") as file:
        return np.stack([file[name].values for name in held.channel_names], 2), truth


def test_power_is_that_of_the_definition(scored, store, fields):
    grid = Store(store).grid
    for name, states in zip(("power", "power_of_truth"), fields, strict=True):
        expected = metrics.spectrum(states, grid).mean(0)  # (k, c, l)
        found = scored[name].transpose("lead_time", "channel", "degree")
        # Transforms of float32 fields: relative to the mean square of the field.
        scale = expected.sum(-1).max(0)[:, None]
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-6)
    np.testing.assert_array_equal(scored.n_sampled, 4)


def test_a_damped_forecast_has_the_power_of_its_damping_and_full_coherence(scored):
    later = scored.isel(degree=slice(1, 4), channel=slice(1, None))  # cubics of zero mean
    for k in range(N_STEPS + 1):
        np.testing.assert_allclose(later.power_ratio[:, k], 0.81**k, rtol=1e-4)
        np.testing.assert_allclose(later.coherence[:, k], 1, rtol=1e-4)
    assert scored.power_ratio.isel(degree=slice(4, None)).isnull().all(), "there is no power"


def test_the_coherence_of_independent_fields_is_near_zero(store, tmp_path):
    rng = np.random.default_rng(0)
    with xr.open_dataset(store.parent / "f.nc") as file:
        file = file.load()
    for name in ("vorticity", "divergence"):
        noise = rng.normal(0, float(file[name].std()), file[name].shape)
        file[name].values[:, 1:] = noise[:, 1:]
    file.to_netcdf(tmp_path / "f.nc")
    scores = evaluate(tmp_path / "f.nc", store, tmp_path / "s.nc")
    later = scores.coherence.isel(channel=slice(1, None), lead_time=slice(1, None))
    # Degree 3 has 7 coefficients of 4 forecasts: correlations of order 0.2.
    assert abs(float(later.isel(degree=3).mean())) < 0.35
    assert float(scores.coherence.isel(lead_time=0, degree=3).min()) > 0.999


def test_conserved_means_are_the_area_means_and_drift_from_the_start(scored, store, fields):
    area = Store(store).grid.area_weights.numpy()
    for name, states in zip(("conserved", "conserved_of_truth"), fields, strict=True):
        mean = (states[:, :, 0].astype("f8") * area).sum((-2, -1)).mean(0)
        found = scored[name].sel(quantity="geopotential")
        np.testing.assert_allclose(found, mean, rtol=1e-12)
        drift = "conserved_drift" + "_of_truth" * name.endswith("truth")
        np.testing.assert_allclose(
            scored[drift].sel(quantity="geopotential"), mean - mean[0], atol=1e-12
        )


def test_energy_of_a_rotated_flow_does_not_drift(scored):
    energy = scored.sel(quantity="energy")
    # Rotation by a Fourier transform in float32.
    assert (abs(energy.conserved_drift_of_truth) < 1e-5 * energy.conserved_of_truth).all()
    assert (energy.conserved_drift[1:] < -0.05 * energy.conserved[0]).all()  # it is damped


def test_integrals_of_solid_rotation_have_their_closed_form(store):
    truth = Truth(ForecastFile(store.parent / "f.nc"), Store(store))
    grid = truth.file.grid
    sine = np.sin(np.radians(grid.latitude.numpy()))[:, None] * np.ones(grid.nlon)
    speed, phi, radius = 20.0, 3e4, 6.37122e6
    vorticity = 2 * speed / radius * sine
    state = np.stack([np.full(grid.shape, phi), vorticity, np.zeros(grid.shape)])
    totals = ConservedTotals(truth)
    totals.add(0, 0, state.reshape(3, -1), state.reshape(3, -1))
    found = dict(zip((q.name for q in totals.quantities), totals.means()[0, :, 0], strict=True))
    # The area means of cos² and sin² of latitude are 2/3 and 1/3.
    assert found["energy"] == pytest.approx(phi * speed**2 / 3 + phi**2 / 2, rel=1e-9)
    absolute = 2 * (speed / radius + 7.292e-5)
    assert found["potential_enstrophy"] == pytest.approx(absolute**2 / (6 * phi), rel=1e-9)


def test_a_channel_that_lacks_points_has_no_spectrum(make_store, tmp_path):
    series = make_store(tmp_path / "store.zarr", "files", mask=True, n_times=48)
    run_rollout(Turning(series), series, tmp_path / "f.nc", n_steps=2)
    scores = evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")
    assert scores.power.sel(channel="sst").isnull().all()
    assert scores.power.sel(channel="t2m").isel(lead_time=0).notnull().all()
    assert "sst has no spectrum" in scores.attrs["notes"]


def test_spectra_are_left_out_on_request(store, tmp_path, run_forecast):
    words = ["evaluate", store.parent / "f.nc", "--data", store, "--out", tmp_path / "s.nc"]
    assert run_forecast(*words, "--no-spectra") == 0
    with xr.open_dataset(tmp_path / "s.nc") as scores:
        assert "power" not in scores and "rmse" in scores
