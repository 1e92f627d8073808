"""Archives as they are shipped: values of the store against readers that share no code with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from configs.load import load_config
from configs.schema import FilesData
from data_prep.ingest.run import ingest
from tests.data_prep.ingest.archives import (
    arco_era5,
    cmip6,
    copernicus,
    copernicus_old,
    ecmwf_grib,
    ocean,
    the_well,
    truth,
    weatherbench2,
)
from tests.data_prep.ingest.archives.raw import Raw

HOUR = np.timedelta64(1, "h")
SIX_HOURLY = np.datetime64("2020-01-01T00", "h") + 6 * HOUR * np.arange(7)
HOURLY = np.arange(SIX_HOURLY[0] - 5 * HOUR, SIX_HOURLY[-1] + HOUR, HOUR)
DAYS = 54_750.0 + np.arange(64)  # 150 years of 365 days: 1 January 2000 to 5 March

# Single precision: units are converted once, and orography and precipitation in a few operations.
RELATIVE = 4e-7


@dataclass(frozen=True)
class Archive:
    """Files of an archive and the preset that takes them.

    Attributes:
        preset: Name of the preset.
        make: Function that writes the files into a folder.
        read: Independent reader of one field.
        overrides: Years and splits.
        times: Time of each state of the store, as the independent reader takes it.
    """

    preset: str
    make: Callable[[Path], list[Path]]
    read: Callable[..., Raw]
    overrides: tuple[str, ...]
    times: tuple[Any, ...]


def _years(first: str, last: str, *, train: str, validation: str, test: str) -> tuple[str, ...]:
    """Return the overrides of the years; each split is one period."""
    splits = {"train": train, "validation": validation, "test": test}
    ranges = ", ".join(f"{k}: {{first: '{v}', last: '{v}'}}" for k, v in splits.items())
    return f"data.times={{first: '{first}', last: '{last}'}}", f"data.splits={{{ranges}}}"


SPRING = _years(
    "2020-01-01", "2020-01-02T12", train="2020-01-01", validation="2020-01-02T00",
    test="2020-01-02T06",
)  # fmt: skip
LEAP = _years("2000-01-01", "2000-03-02", train="2000-01", validation="2000-02", test="2000-03")
ARCHIVES = {
    "WeatherBench 2": Archive(
        "weatherbench2", partial(weatherbench2.make, times=SIX_HOURLY), weatherbench2.read, SPRING,
        tuple(SIX_HOURLY),
    ),
    "ARCO-ERA5": Archive(
        "reanalysis", partial(arco_era5.make, times=HOURLY), arco_era5.read, SPRING,
        tuple(SIX_HOURLY),
    ),
    "Copernicus": Archive(
        "reanalysis", partial(copernicus.make, times=SIX_HOURLY, preliminary=2), copernicus.read,
        SPRING, tuple(SIX_HOURLY),
    ),
    "Copernicus until 2024": Archive(
        "reanalysis", partial(copernicus_old.make, times=SIX_HOURLY, preliminary=2),
        copernicus_old.read, SPRING, tuple(SIX_HOURLY),
    ),
    "GRIB 1": Archive(
        "reanalysis", partial(ecmwf_grib.make, times=SIX_HOURLY, edition=1), ecmwf_grib.read,
        SPRING, tuple(SIX_HOURLY),
    ),
    "GRIB 2": Archive(
        "reanalysis", partial(ecmwf_grib.make, times=SIX_HOURLY, edition=2), ecmwf_grib.read,
        SPRING, tuple(SIX_HOURLY),
    ),
    "CMIP6 noleap": Archive(
        "cmip6", partial(cmip6.make, days=DAYS, calendar="365_day"), cmip6.read, LEAP,
        tuple(range(61)),
    ),
    "CMIP6 360_day": Archive(
        "cmip6", partial(cmip6.make, days=54_000.0 + np.arange(64), calendar="360_day"),
        cmip6.read, LEAP, tuple(range(62)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """Files and the store that was made of them."""

    archive: Archive
    paths: list[Path]
    path: Path
    store: xr.Dataset


@pytest.fixture(scope="module", params=ARCHIVES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Files of each archive, and the store that the preset makes of them."""
    archive = ARCHIVES[request.param]
    folder = tmp_path_factory.mktemp("archive")
    paths = archive.make(folder)
    config = load_config(archive.preset, archive.overrides)
    path = ingest(paths, config.data, folder / "store", table=config.table)
    return Made(archive, paths, path, opened(path))


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def points(store: xr.Dataset) -> dict[str, tuple[int, int]]:
    """Return rows and columns of the places where an order or a seam would show."""
    latitude, longitude = store.latitude.values, store.longitude.values
    date_line = int(np.abs(longitude - 180).argmin())
    middle = len(latitude) // 3
    return {
        "the coast": truth.coast(latitude, longitude),
        "land at the coast": tuple(np.add(truth.coast(latitude, longitude), (0, 1))),
        "the north pole": (0, len(longitude) // 3),
        "the south pole": (len(latitude) - 1, 1),
        "the date line": (middle, date_line),
        "west of the date line": (middle, date_line - 1),
        "Greenwich": (middle, 0),
        "west of Greenwich": (middle, len(longitude) - 1),
    }


def agree(found: NDArray[np.floating], expected: NDArray[np.float64], store: xr.Dataset) -> None:
    """Compare a field of a store with that of an independent reader, first at the points."""
    tolerance = RELATIVE * float(np.nanmax(np.abs(expected)))
    for name, at in points(store).items():
        np.testing.assert_allclose(found[at], expected[at], rtol=0, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_fields_are_those_of_an_independent_reader(made: Made) -> None:
    store, archive = made.store, made.archive
    for c, channel in enumerate(store.channel.values.tolist()):
        for t in (0, len(archive.times) // 2, len(archive.times) - 1):
            raw = archive.read(made.paths, channel, archive.times[t])
            expected = raw.on(store.latitude, store.longitude)
            agree(store.fields.values[t, c], expected, store)


def test_fixed_fields_are_those_of_an_independent_reader(made: Made) -> None:
    names = made.store.channel_static.values.tolist()
    assert names == ["orography", "land_fraction"]
    for name, found in zip(names, made.store.static.values, strict=True):
        raw = made.archive.read(made.paths, name)
        agree(found, raw.on(made.store.latitude, made.store.longitude), made.store)


def test_fields_are_the_truth_to_half_a_packing_step(made: Made) -> None:
    store, archive = made.store, made.archive
    for name in ("t500", "u10", "msl"):
        base, level = weatherbench2.split_level(name)
        for t in (0, len(archive.times) - 1):
            time = archive.times[t]
            if archive.preset == "cmip6":
                hours = cmip6.elapsed_hours(first_day(made) + 0.5 + np.array([time]))
            else:
                hours = truth.hours_since_origin(time)
            expected = truth.field(base, store.latitude, store.longitude, hours, level)[0]
            quantum = archive.read(made.paths, name, time).quantum
            found = store.fields.values[t, store.channel.values.tolist().index(name)]
            tolerance = quantum / 2 + RELATIVE * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def first_day(made: Made) -> float:
    return 54_750.0 if "CanESM5" in made.paths[0].name else 54_000.0


def test_times_and_splits_are_those_of_the_overrides(made: Made) -> None:
    store, archive = made.store, made.archive
    split = store.split.values.tolist()
    if archive.preset != "cmip6":
        np.testing.assert_array_equal(store.time.values.astype("M8[h]"), archive.times)
        assert split == ["train"] * 4 + ["validation", "test", ""]
        return
    calendar = "365_day" if "CanESM5" in made.paths[0].name else "360_day"
    days = first_day(made) + 0.5 + np.arange(len(archive.times))
    found = [(t.year, t.month, t.day, t.hour) for t in store.time.values.tolist()]
    assert found == [(t.year, t.month, t.day, t.hour) for t in cmip6.dates(days, calendar)]
    months = (31, 28, 2) if calendar == "365_day" else (30, 30, 2)
    assert [split.count(s) for s in ("train", "validation", "test")] == list(months)


def test_store_agrees_with_its_sources(made: Made, run_forecast: Callable[..., int]) -> None:
    assert run_forecast("data", "verify", made.path, *made.paths) == 0


def test_preset_is_said_to_miss_nothing(
    made: Made, run_forecast: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    words = (*made.paths, "--preset", made.archive.preset, *made.archive.overrides)
    assert run_forecast("data", "inspect", *words) == 0
    printed = capsys.readouterr().out
    for channel in made.store.channel.values.tolist():
        assert channel in printed


def test_finer_files_are_brought_onto_the_grid_of_a_preset(tmp_path: Path) -> None:
    paths = copernicus.make(tmp_path, SIX_HOURLY, nlat=91)
    config = load_config("weatherbench2", SPRING)
    store = opened(ingest(paths, config.data, tmp_path / "store", table=config.table))
    assert store.fields.shape[-2:] == (32, 64)
    hours = truth.hours_since_origin(SIX_HOURLY)
    for name, amplitude in (("t500", 20.0), ("u10", 7.0), ("msl", 1500.0)):
        base, level = weatherbench2.split_level(name)
        expected = truth.field(base, store.latitude, store.longitude, hours, level)
        found = store.fields.values[:, store.channel.values.tolist().index(name)]
        # The mean over a cell of 5.6 degrees differs from the value at its centre.
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * amplitude)


# --- what no preset takes ------------------------------------------------------------------------


def test_precipitation_since_the_start_of_a_forecast_becomes_that_of_each_step(
    tmp_path: Path,
) -> None:
    starts = SIX_HOURLY[::4]
    paths = ecmwf_grib.make_forecasts(tmp_path, starts)
    config = FilesData(variables=("t2m", "t850", "tp"))
    store = opened(ingest(paths, config, tmp_path / "store"))
    times = starts[0] + 6 * HOUR * np.arange(1, 9)
    np.testing.assert_array_equal(store.time.values.astype("M8[h]"), times)
    hours = truth.hours_since_origin(times)
    rain = truth.precipitation(store.latitude, store.longitude, hours - 6, hours)
    # Two packed values of up to a day are subtracted: 16 bits of 4 mm each.
    np.testing.assert_allclose(store.fields[:, 2], rain, rtol=0, atol=2 * 0.004 / 2**16)
    warm = truth.field("t2m", store.latitude, store.longitude, hours)
    np.testing.assert_allclose(store.fields[:, 0], warm, rtol=0, atol=1e-3)


@pytest.mark.parametrize("edition", [1, 2])
def test_members_of_an_ensemble_become_trajectories(edition: int, tmp_path: Path) -> None:
    paths = ecmwf_grib.make_members(tmp_path, SIX_HOURLY, edition=edition)
    config = FilesData(variables=("t500", "t850", "t2m"), trajectories="number")
    store = opened(ingest(paths, config, tmp_path / "store"))
    assert store.fields.dims == ("trajectory", "time", "channel", "latitude", "longitude")
    hours = truth.hours_since_origin(SIX_HOURLY)
    for c, (name, level) in enumerate((("t", 500), ("t", 850), ("t2m", None))):
        for member in range(3):
            axes = store.latitude, store.longitude, hours
            expected = truth.field(name, *axes, level, member)
            np.testing.assert_allclose(store.fields[member, :, c], expected, rtol=0, atol=1e-3)


def test_one_member_of_an_ensemble_is_chosen_by_its_number(tmp_path: Path) -> None:
    paths = ecmwf_grib.make_members(tmp_path, SIX_HOURLY)
    config = FilesData(variables=("t500",), select={"number": 2})
    store = opened(ingest(paths, config, tmp_path / "store"))
    axes = store.latitude, store.longitude, truth.hours_since_origin(SIX_HOURLY)
    expected = truth.field("t", *axes, 500, 2)
    np.testing.assert_allclose(store.fields[:, 0], expected, rtol=0, atol=1e-3)


def test_trajectories_of_the_well(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    paths = the_well.make(tmp_path)
    config = FilesData(
        variables=("geopotential", "eastward_wind", "northward_wind"),
        rename={
            "height": "geopotential",
            "velocity_0": "eastward_wind",
            "velocity_1": "northward_wind",
        },
        units={"height": "m", "velocity_0": "m s-1", "velocity_1": "-1 m s-1"},
        time_units="hours since 2020-01-01",
        time_step="1h",
        trajectories="trajectory",
    )
    store = opened(ingest(paths, config, tmp_path / "store"))
    assert store.fields.sizes["trajectory"] == 3
    for c, (name, factor) in enumerate(
        (("height", 9.80665), ("velocity_east", 1.0), ("velocity_north", 1.0))
    ):
        for trajectory, time in ((0, 0), (1, 7), (2, 3)):
            raw = the_well.read(paths, name, trajectory, time).scaled(factor)
            found = store.fields.values[trajectory, time, c]
            agree(found, raw.on(store.latitude, store.longitude), store)


@pytest.mark.parametrize("step", ["1d", "1mo"])
def test_sea_surface_temperature_and_ice_as_forcing(step: str, tmp_path: Path) -> None:
    months = np.arange("2020-01", "2020-07", dtype="M8[M]").astype("M8[D]")
    days = np.datetime64("2020-02-26") + np.arange(6) if step == "1d" else months
    paths = ocean.make(tmp_path, days)
    air = weather_on_the_grid_of(paths[0], days, tmp_path / "air.nc")
    config = FilesData(
        variables=("t2m",), forcing=("sst", "siconc"), mask=("sst",), moving_mask=("siconc",),
        time_step=step,
    )  # fmt: skip
    store = opened(ingest([air, *paths], config, tmp_path / "store"))
    assert store.channel.values.tolist() == ["t2m", "sst", "siconc"]
    assert store.channel_role.values.tolist() == ["prognostic", "forcing", "forcing"]
    np.testing.assert_array_equal(store.time.values.astype("M8[D]"), days)
    ever = np.isfinite(store.fields.values).any(axis=0)
    np.testing.assert_array_equal(store.mask, ever)
    for c, name in ((1, "sst"), (2, "siconc")):
        for t in (0, 3, 5):
            raw = ocean.read(paths, name, t).on(store.latitude, store.longitude)
            np.testing.assert_allclose(store.fields[t, c], raw, rtol=RELATIVE)
    edges = np.isfinite(store.fields.values[:, 2])
    assert (edges[0] != edges[3]).any()


def weather_on_the_grid_of(path: Path, days: NDArray[np.datetime64], out: Path) -> Path:
    """Write the temperature at 2 m on the grid of a file."""
    with xr.open_dataset(path, engine="netcdf4", decode_times=False) as data:
        lat, lon = data.lat.load(), data.lon.load()
    values = truth.field("t2m", lat, lon, truth.hours_since_origin(days))
    dims = ("time", "lat", "lon")
    warm = xr.Dataset(
        {"t2m": (dims, values.astype("f4"), {"units": "K"})},
        {"time": days.astype("M8[ns]"), "lat": lat, "lon": lon},
    )
    warm.to_netcdf(out, engine="netcdf4")
    return out
