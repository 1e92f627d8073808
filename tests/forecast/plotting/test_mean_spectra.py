"""Mean spectra of forecast and truth, at the same lead time and over the same forecasts."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import torch
import zarr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.plotting import curves
from forecast.plotting.curves import plot_spectrum
from forecast.plotting.mean_spectra import mean_spectra
from forecast.verification.truth import Truth
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT
from tests.forecast.stand_in import Turning

N_STEPS = 4


@pytest.fixture(scope="module")
def perfect(make_store, tmp_path_factory):
    """Store whose fields become rougher with time, and forecasts equal to it."""
    folder = tmp_path_factory.mktemp("spectra")
    for kind, options in (("files", {"n_times": 96}), ("trajectory", {})):
        path = make_store(folder / f"{kind}.zarr", kind, **options)
        _roughen(path)
        run_rollout(Turning(path, 0.9), path, folder / f"{kind}.nc", n_steps=N_STEPS)
        _copy_truth(path, folder / f"{kind}.nc")
    return folder


def _roughen(path):
    """Multiply degree l of the state at a time by (1 + time)^(l/2)."""
    fields = zarr.open_group(path, mode="r+")["fields"]
    grid = Grid.legendre_gauss(*fields.shape[-2:])

    analysis, synthesis = RealSHT(grid, lmax=8, mmax=8), InverseRealSHT(grid, lmax=8, mmax=8)
    coeffs = analysis(torch.from_numpy(fields[...].astype(np.float64)))
    time = torch.arange(fields.shape[-4], dtype=torch.float64)[:, None, None, None]
    growth = (1 + time) ** (torch.arange(8)[:, None] / 2)
    fields[...] = synthesis(coeffs * growth).numpy().astype(np.float32)


def _copy_truth(store, forecast):
    source = Store(store)
    truth = Truth(ForecastFile(forecast), source)
    truth.file.dataset.close()
    with netCDF4.Dataset(forecast, "r+") as file:
        for i in range(len(truth.file.init_time)):
            known = truth.known(i, slice(None))
            for c, name in enumerate(truth.file.channel_names):
                file[name][i, known] = truth.states(i, known)[:, c]


def _spectra(folder, kind, positions):
    file = ForecastFile(folder / f"{kind}.nc")
    return mean_spectra(file, Truth(file, Store(folder / f"{kind}.zarr")), positions)


def _copy(folder, kind, out):
    (out / f"{kind}.nc").write_bytes((folder / f"{kind}.nc").read_bytes())
    (out / f"{kind}.zarr").symlink_to(folder / f"{kind}.zarr")
    return out


@pytest.mark.parametrize("kind", ["files", "trajectory"])
def test_a_perfect_forecast_has_the_truths_power_at_every_degree_and_lead(perfect, kind):
    spectra = _spectra(perfect, kind, [0, 1, 2, N_STEPS])
    power = spectra.truth[:, 0, 1:4]  # the fields are cubics
    assert np.abs(np.log(power[-1] / power[0])).max() > 0.03, "the truth changes with lead time"
    known = np.isfinite(spectra.ratio)
    assert known[:, :, 1:4].all()
    np.testing.assert_allclose(spectra.ratio[known], 1.0, rtol=1e-5)


def test_the_drawn_ratio_of_a_perfect_forecast_is_one(perfect, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    plot_spectrum(perfect / "trajectory.nc", perfect / "trajectory.zarr", tmp_path / "s.png")
    for bottom in figures[0].axes[3:]:
        *ratios, _ = bottom.get_lines()  # the last is the line at 1
        assert len(ratios) == 4
        for line in ratios:
            np.testing.assert_allclose(line.get_ydata()[:3], 1.0, rtol=1e-5)


def test_a_forecast_that_ended_is_in_neither_mean(perfect, tmp_path):
    folder = _copy(perfect, "files", tmp_path)
    with netCDF4.Dataset(folder / "files.nc", "r+") as file:
        n = len(file.dimensions["init_time"])
        last = np.where(np.arange(n) % 2, N_STEPS, 1)
        for name in ("sst", "t2m"):
            file[name][::2, 2:] = np.nan
        file.createVariable("last_step", "i4", ("init_time",))[:] = last
    spectra = _spectra(folder, "files", [1, N_STEPS])
    assert spectra.n_forecasts[1] < spectra.n_forecasts[0]
    np.testing.assert_allclose(spectra.ratio[1][:, 1:4], 1.0, rtol=1e-5)


def test_a_forecast_beyond_the_store_is_in_neither_mean(perfect, tmp_path):
    """Use a series whose last forecasts end after the store does."""
    spectra = _spectra(perfect, "files", [0, N_STEPS])
    assert spectra.n_forecasts[1] < spectra.n_forecasts[0]
    np.testing.assert_allclose(spectra.ratio[1][:, 1:4], 1.0, rtol=1e-5)


def test_a_lead_time_that_the_store_lacks_has_no_ratio(make_store, tmp_path, monkeypatch):
    store = make_store(tmp_path / "t.zarr", "trajectory", n_times=4)
    run_rollout(Turning(store, 0.9), store, tmp_path / "f.nc", n_steps=6)
    file = ForecastFile(tmp_path / "f.nc")
    spectra = mean_spectra(file, Truth(file, Store(store)), [3, 6])
    assert np.isfinite(spectra.forecast).all()
    assert np.isfinite(spectra.ratio[0, :, 1:4]).all() and np.isnan(spectra.ratio[1]).all()
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    plot_spectrum(tmp_path / "f.nc", store, tmp_path / "s.png", leads=["3h", "6h"])
    top, bottom = figures[0].axes[0], figures[0].axes[3]
    assert len(top.get_lines()) == 3 and len(bottom.get_lines()) == 2
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["3 h", "6 h, no truth", "truth, same lead time"]
    with pytest.raises(ValueError, match="no state at the lead times drawn"):
        plot_spectrum(tmp_path / "f.nc", store, tmp_path / "s.png", leads=["6h"])
