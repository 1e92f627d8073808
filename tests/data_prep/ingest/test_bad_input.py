"""Bad input at the command line: exit code 2, one line, and nothing left or changed on disk."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sphere_ops.grid import Grid
from tests.data_prep.ingest.archives import truth, weatherbench2

GRID = Grid.cell_centred(8, 12)
HOUR = np.timedelta64(1, "h")
TIMES = np.datetime64("2020-01-01T00", "h") + 6 * HOUR * np.arange(12)
PRESET = """
data:
  source: files
  variables: [t2m, msl]
  splits: {train: 0.6, validation: 0.2, test: 0.2}
model:
  branches: {spectral: {lmax: 6}}
"""
Refused = Callable[..., str]
Run = Callable[..., int]


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """Preset of two variables."""
    (tmp_path / "preset.yaml").write_text(PRESET)
    return tmp_path / "preset.yaml"


def weather(grid: Grid = GRID, times: np.ndarray = TIMES) -> xr.Dataset:
    """Return temperature and pressure."""
    latitude, longitude = grid.latitude.numpy(), grid.longitude.numpy()
    hours = truth.hours_since_origin(times)
    dims = ("time", "latitude", "longitude")
    fields = {n: truth.field(n, latitude, longitude, hours).astype("f4") for n in ("t2m", "msl")}
    return xr.Dataset(
        {
            "t2m": (dims, fields["t2m"], {"units": "K"}),
            "msl": (dims, fields["msl"], {"units": "Pa"}),
        },
        {"time": times.astype("M8[ns]"), "latitude": latitude, "longitude": longitude},
    )


def save(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path, engine="netcdf4")
    return path


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def nothing_is_left(refused: Refused, preset: Path, tmp_path: Path) -> Callable[..., str]:
    """Function that ingests, and checks the error and that the folder is as it was."""

    def check(*words: object) -> str:
        before = contents(tmp_path)
        error = refused("data", "ingest", preset, *words, "--out", tmp_path / "store")
        assert contents(tmp_path) == before
        assert len(error) < 600
        return error

    return check


def test_two_variables_for_one_name(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    data = weather()
    data["tas"] = data.t2m + 1
    data["2t"] = data.t2m
    path = save(data.drop_vars("t2m"), tmp_path / "in.nc")
    error = nothing_is_left(path)
    assert "t2m could be any of" in error and "tas" in error and "2t" in error
    assert "data.rename" in error


def test_grids_of_two_sizes(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    one = save(weather()[["t2m"]], tmp_path / "one.nc")
    two = save(weather(Grid.cell_centred(10, 12))[["msl"]], tmp_path / "two.nc")
    error = nothing_is_left(one, two)
    assert "8×12" in error and "10×12" in error and "data.grid" in error


def test_two_calendars(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    first, second = weather().isel(time=slice(6)), weather().isel(time=slice(6, 12))
    hours = np.arange(6) * 6.0 + 36
    attributes = {"units": "hours since 2020-01-01", "calendar": "noleap"}
    second = second.drop_vars("time").assign_coords(time=("time", hours, attributes))
    paths = save(first, tmp_path / "one.nc"), save(second, tmp_path / "two.nc")
    error = nothing_is_left(*paths)
    assert "calendar" in error and "noleap" in error and "two.nc" in error


def test_one_time_in_two_files(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    paths = [
        save(weather().isel(time=slice(0, 7)), tmp_path / "one.nc"),
        save(weather().isel(time=slice(6, 12)), tmp_path / "two.nc"),
    ]
    error = nothing_is_left(*paths)
    assert "2020-01-02T12" in error and "one.nc" in error and "two.nc" in error


def test_units_of_another_quantity(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    data = weather()
    data["msl"].attrs["units"] = "m s-1"
    error = nothing_is_left(save(data, tmp_path / "in.nc"))
    assert "'m s-1' cannot be converted to 'Pa'" in error and "data.units.msl" in error


def test_missing_values_that_are_not_declared(
    nothing_is_left: Callable[..., str], tmp_path: Path
) -> None:
    data = weather()
    data["t2m"][10, 2, 3] = np.nan  # in the last block, after others were written
    error = nothing_is_left(save(data, tmp_path / "in.nc"))
    assert "t2m at 2020-01-03T12:00:00" in error and "data.mask=[t2m]" in error


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/era5.zarr", "http://127.0.0.1:9/t2m.nc", "https://nowhere.invalid/a.nc"],
)
def test_source_that_cannot_be_reached(address: str, nothing_is_left: Callable[..., str]) -> None:
    error = nothing_is_left(address)
    assert address in error


def test_glob_without_files(nothing_is_left: Callable[..., str], tmp_path: Path) -> None:
    assert "*.nc" in nothing_is_left(tmp_path / "*.nc")


def test_zarr_group_with_a_damaged_chunk(
    nothing_is_left: Callable[..., str], tmp_path: Path
) -> None:
    (path,) = weatherbench2.make(tmp_path, TIMES, levels=(500,))
    (path / "2m_temperature" / "0.0.0").write_bytes(b"damaged")
    assert "1959-2022-6h-64x32" in nothing_is_left(path)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "forecast", *map(str, words)]


def test_disk_that_becomes_full(preset: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the same error of the system."""
    grid = Grid.cell_centred(48, 96)
    noise = np.random.default_rng(0).standard_normal((40, *grid.shape), dtype="f4")
    data = weather(grid, TIMES[0] + 6 * HOUR * np.arange(40))
    data["t2m"] = data.t2m.dims, 280 + noise, data.t2m.attrs  # does not compress
    path = save(data, tmp_path / "in.nc")
    before = contents(tmp_path)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        command("data", "ingest", preset, path, "--out", tmp_path / "store"),
        capture_output=True, text=True, preexec_fn=limit, env={**os.environ, "TMPDIR": "/tmp"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    assert "File too large" in errors[0] or "disk" in errors[0]
    left = {name for name in contents(tmp_path) if name not in before}
    assert not any(name.startswith("store/") for name in left)


def test_source_that_changed_after_the_store_was_made(
    refused: Refused, run_forecast: Run, preset: Path, tmp_path: Path
) -> None:
    first = save(weather().isel(time=slice(0, 8)), tmp_path / "one.nc")
    second = save(weather().isel(time=slice(8, 12)), tmp_path / "two.nc")
    store = tmp_path / "store"
    assert run_forecast("data", "ingest", preset, first, "data.splits=null", "--out", store) == 0
    before = contents(store)
    changed = weather().isel(time=slice(0, 8))
    changed["t2m"] = changed.t2m + 1
    save(changed, first)
    words = ("data", "ingest", preset, first, second, "data.splits=null", "--out", store)
    error = refused(*words, "--append")
    assert "one.nc" in error and "changed" in error
    assert contents(store) == before


def test_times_that_do_not_follow_those_of_the_store(
    refused: Refused, run_forecast: Run, preset: Path, tmp_path: Path
) -> None:
    first = save(weather().isel(time=slice(0, 6)), tmp_path / "one.nc")
    later = save(weather().isel(time=slice(8, 12)), tmp_path / "two.nc")
    store = tmp_path / "store"
    assert run_forecast("data", "ingest", preset, first, "data.splits=null", "--out", store) == 0
    before = contents(store)
    words = ("data", "ingest", preset, later, "data.splits=null", "--out", store)
    error = refused(*words, "--append")
    assert "2020-01-02T06" in error and "2020-01-03" in error  # the last time, and the next
    assert contents(store) == before


def test_store_that_exists_is_not_touched(
    refused: Refused, run_forecast: Run, preset: Path, tmp_path: Path
) -> None:
    path = save(weather(), tmp_path / "in.nc")
    store = tmp_path / "store"
    words = ("data", "ingest", preset, path, "--out", store)
    assert run_forecast(*words) == 0
    before = contents(store)
    assert "exists" in refused(*words)
    assert contents(store) == before
