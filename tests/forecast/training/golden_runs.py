"""Short training runs of one preset of each family, on generated data, in float64.

In float32 the losses would depend on the processor from the second step on: Adam makes full steps
of rounding for weights whose gradient is zero. In float64 rounding is far below Adam's epsilon.

`python -m tests.forecast.training.golden_runs` writes their losses to `golden.json` again: after a
change that is meant to change them, and after no other.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import xarray as xr

from configs import layout
from configs.load import load_config
from configs.schema import Config, FilesData
from configs.solvers import ShallowWaterData
from configs.training import TrainingConfig
from data_prep.equations.generate import generate
from data_prep.gcm.run import generate as run_circulation_model
from data_prep.ingest.run import ingest
from data_prep.shallow_water.generate import generate_shallow_water
from forecast.model.forecaster import Forecaster
from forecast.training.samples.batches import Batch
from forecast.training.tracking.recorder import read_metrics
from forecast.training.train import train
from forecast.training.trainer import StepResult, Trainer
from tests.data_prep.gcm.fake_model import fake_python

Losses = dict[str, list[float]]
"""Values of a run by name: one of each step, or of the last validation."""

GOLDEN = Path(__file__).with_name("golden.json")
SHORT = (
    "model.channels=6",
    "model.blocks=2",
    "training.steps=5",
    "training.batch_size=2",
    "training.learning_rate=2e-2",
    "training.log_every=1",
    "training.validate_every=5",
    "training.validation_rollout=2",
    "training.precision=float32",
    "training.device=cpu",
    "tracking.enabled=false",
)
SMALL = {
    "swe": (
        "data.grid={kind: legendre-gauss, nlat: 16, nlon: 32}",
        "data.lmax=11",
        "data.trajectories={train: 3, validation: 1, test: 1}",
        "data.n_steps=4",
        "model.branches.spectral.lmax=16",
        "model.branches.integral.theta_cutoff=0.6",
        "model.dealias_lmax=11",
    ),
    "barotropic": (
        "data.grid={kind: legendre-gauss, nlat: 16, nlon: 32}",
        "data.lmax=11",
        "data.trajectories={train: 3, validation: 1, test: 1}",
        "data.n_steps=4",
        "data.spin_up=1d",
        "model.branches.spectral.lmax=16",
        "model.branches.integral.theta_cutoff=0.6",
        "model.dealias_lmax=11",
    ),
    "reaction": (
        "data.grid={kind: legendre-gauss, nlat: 16, nlon: 32}",
        "data.lmax=11",
        "data.trajectories={train: 3, validation: 1, test: 1}",
        "data.n_steps=4",
        "model.branches.spectral.lmax=16",
        "model.branches.integral.theta_cutoff=0.6",
        "model.dealias_lmax=11",
    ),
    "darcy": (
        "data.grid={kind: legendre-gauss, nlat: 16, nlon: 32}",
        "data.lmax=22",
        "data.trajectories={train: 12, validation: 2, test: 2}",
        "data.parameters.length=0.5",
        "training.validation_rollout=1",
        "model.branches.spectral.lmax=16",
        "model.branches.integral.theta_cutoff=0.6",
    ),
    "sst": (
        "data.splits={train: 0.7, validation: 0.2, test: 0.1}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral.theta_cutoff=1.0",
        "model.grid={nlat: 9, nlon: 18}",
    ),
    "atmosphere": (
        "gcm.last=2001-01-06",
        "gcm.spin_up=1d",
        "data.variables=[z500, t850, u850, q700, sp, tp]",
        "data.grid={kind: legendre-gauss, nlat: 32, nlon: 64}",
        "data.splits={train: 0.6, validation: 0.2, test: 0.2}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral={theta_cutoff: 0.4, fit_lmax: 22}",
        "model.branches.differential.fit_lmax=22",
        "model.dealias_lmax=22",
    ),
    "held_suarez": (
        "gcm.last=2001-01-06",
        "gcm.spin_up=1d",
        "data.variables=[z500, t850, u850, v850, sp]",
        "data.grid={kind: legendre-gauss, nlat: 32, nlon: 64}",
        "data.splits={train: 0.6, validation: 0.2, test: 0.2}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral={theta_cutoff: 0.4, fit_lmax: 22}",
        "model.branches.differential.fit_lmax=22",
        "model.dealias_lmax=22",
    ),
    "reanalysis": (
        "data.variables=[z500, t850, u10, v10]",
        "data.grid={kind: equiangular, nlat: 13, nlon: 24}",
        "data.splits={train: 0.6, validation: 0.2, test: 0.2}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral.theta_cutoff=0.8",
    ),
    "weatherbench2": (
        "data.variables=[z500, t850, u10, v10]",
        "data.grid={kind: cell-centred, nlat: 12, nlon: 24}",
        "data.times={}",
        "data.splits={train: 0.6, validation: 0.2, test: 0.2}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral.theta_cutoff=0.9",
    ),
    "cmip6": (
        "data.variables=[z500, u10, v10]",
        "data.time_step=6h",
        "data.times={}",
        "data.splits={train: 0.6, validation: 0.2, test: 0.2}",
        "model.branches.spectral.lmax=8",
        "model.branches.integral.theta_cutoff=0.8",
    ),
}


class DoubleTrainer(Trainer):
    """Trainer whose forecaster, losses and batches are in float64."""

    def __init__(self, forecaster: Forecaster, config: TrainingConfig) -> None:
        super().__init__(forecaster.double(), config)
        for loss in (self.loss, self.error, self.validation.crps, self.spectral):
            if loss is not None:
                loss.double()

    def step(self, batches: Sequence[Batch], n_steps: int) -> StepResult:
        """See `Trainer.step`."""
        return super().step([replace(b, fields=b.fields.double()) for b in batches], n_steps)


def losses(preset: str, folder: Path) -> Losses:
    """Return loss and gradient norm of each step, and errors of the last validation, of a run.

    Args:
        preset: A key of `SMALL`.
        folder: An empty folder for the data and the run.
    """
    config = load_config(preset, [*SHORT, *SMALL[preset]])
    store = make_store(config, folder)
    with mock.patch("forecast.training.train.Trainer", DoubleTrainer):
        train(config, store, folder / "run")
    records = read_metrics(folder / "run" / layout.METRICS_FILE)
    found = {key: [r[key] for r in records] for key in ("train/loss", "train/gradient_norm")}
    validation = {k: [v] for k, v in records[-1].items() if k.startswith("validation/")}
    return found | validation


def make_store(config: Config, folder: Path) -> Path:
    """Make a store by a solver, or from a file of travelling waves."""
    out = folder / "store.zarr"
    if isinstance(config.data, ShallowWaterData):
        return generate_shallow_water(config.data, out)
    if not isinstance(config.data, FilesData):
        return generate(config.data, out)
    if config.gcm is not None:
        return run_circulation_model(config, out, python=fake_python(folder))
    make_file = monthly_file if config.data.mask else six_hourly_file
    make_file(folder / "file.nc")
    return ingest([folder / "file.nc"], config.data, out)


def waves(latitude: np.ndarray, longitude: np.ndarray, n_times: int, seed: int) -> np.ndarray:
    """Return waves of order 1 with different speeds, (time, nlat, nlon)."""
    rng = np.random.default_rng(seed)
    phi, lam = np.radians(latitude)[:, None], np.radians(longitude)[None, :]
    time = np.arange(n_times)[:, None, None]
    field = np.zeros((n_times, latitude.size, longitude.size))
    for m in range(4):
        for tilt in range(3):
            size, phase, speed = rng.normal(), rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
            shape = np.cos(phi) ** m * np.sin(phi) ** tilt
            field += size * shape * np.cos(m * lam - speed * time + phase)
    return field


def monthly_file(path: Path, years: int = 5, first: str = "2000-01") -> None:
    """Write some years of sea surface temperature with a season, a trend and a continent."""
    latitude, longitude, n = np.arange(85.0, -90, -10), np.arange(5.0, 360, 10), 12 * years
    phi, lam = np.radians(latitude)[:, None], np.radians(longitude)[None, :]
    month = np.arange(n)[:, None, None]
    season = 4 * np.sin(phi) * np.cos(2 * np.pi * month / 12)
    sst = 28 * np.cos(phi) ** 2 + season + 0.005 * month
    sst = sst + 0.4 * waves(latitude, longitude, n, seed=1)
    land = np.cos(phi) * np.cos(lam - 1) + 0.3 * np.sin(3 * phi) > 0.6
    fields = np.where(land, np.nan, sst).astype("f4")
    time = (np.datetime64(first, "M") + np.arange(n)).astype("datetime64[ns]")
    dims = ("time", "latitude", "longitude")
    write(path, latitude, longitude, {"time": time}, {"sst": (dims, fields, {"units": "degC"})})


def six_hourly_file(path: Path) -> None:
    """Write ten days in the layout of ERA5, with mountains and land."""
    latitude, longitude, n = np.linspace(90, -90, 17), np.arange(32) * 11.25, 40
    z, t, u, v = (waves(latitude, longitude, n, seed).astype("f4") for seed in range(2, 6))
    height = 3000 * waves(latitude, longitude, 1, seed=6)[0].clip(0)
    levels, surface = ("time", "level", "latitude", "longitude"), ("time", "latitude", "longitude")
    time = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    variables = {
        "z": (levels, 5e4 + 800 * np.stack([z, t], 1), {"units": "m**2 s**-2"}),
        "t": (levels, 270 + 9 * np.stack([z, t], 1), {"units": "K"}),
        "u10": (surface, 8 * u, {"units": "m s**-1"}),
        "v10": (surface, -6 * v, {"units": "m s**-1"}),
        "orography": (surface[1:], height.astype("f4"), {"units": "m"}),
        "lsm": (surface[1:], (height > 0).astype("f4"), {"units": "1"}),
    }
    level = ("level", [500.0, 850.0], {"units": "hPa"})
    write(path, latitude, longitude, {"time": time, "level": level}, variables)


def write(path: Path, latitude: np.ndarray, longitude: np.ndarray, more: dict, data: dict) -> None:
    """Write fields to a netCDF file."""
    axes = {
        "latitude": ("latitude", latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", longitude, {"units": "degrees_east"}),
    }
    xr.Dataset(data, axes | more).to_netcdf(path, engine="netcdf4")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        golden = {}
        for name in SMALL:
            (Path(folder) / name).mkdir()
            golden[name] = losses(name, Path(folder) / name)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
