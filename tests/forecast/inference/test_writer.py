"""Forecast files: CF conventions, opening with one call, and atomic writing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.time.step import TimeStep
from configs.variables import variable
from forecast.inference.coordinates import ForecastAxes, define
from forecast.inference.reader import ForecastFile
from forecast.inference.writer import ForecastWriter
from forecast.inference.writing.file_formats import ZarrFormat
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
ATTRIBUTES = {"title": "A forecast", "source": "a test", "history": "made by a test"}
TIMES = np.array(["2001-01-01T00", "2001-01-01T06", "2001-01-02T12"], dtype="datetime64[ns]")
KINDS = ["series", "months", "minutes", "trajectories"]


def axes(kind: str, n_steps: int = 4, names: tuple[str, ...] = ("z500", "t2m")) -> ForecastAxes:
    step = {"series": "6h", "months": "1mo", "minutes": "20min", "trajectories": "1h"}[kind]
    if kind == "trajectories":
        names = ("geopotential", "vorticity", "divergence")
    return ForecastAxes(
        grid=GRID,
        channels=[variable(name) for name in names],
        time_step=TimeStep.parse(step),
        init_time=TIMES[:1].repeat(3) if kind == "trajectories" else TIMES,
        steps=np.arange(n_steps + 1),
        trajectory=np.array([4, 5, 7]) if kind == "trajectories" else None,
    )


def fields(layout: ForecastAxes, seed: int = 0) -> np.ndarray:
    shape = (*layout.shape[:2], len(layout.channels), *layout.shape[2:])
    return np.random.default_rng(seed).normal(2.0, 3.0, shape).astype(np.float32)


def write(path: Path, kind: str, **options: int) -> tuple[ForecastAxes, np.ndarray]:
    layout = axes(kind, **options)
    values = fields(layout)
    with ForecastWriter(path, layout, ATTRIBUTES, batch_size=2) as writer:
        for forecast_indices in ([0, 1], [2]):
            for k in range(values.shape[1]):
                writer.write(forecast_indices, k, values[forecast_indices, k])
    return layout, values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_one_call_opens_what_was_written(tmp_path, kind, suffix):
    path = tmp_path / f"f{suffix}"
    layout, values = write(path, kind)
    with xr.open_dataset(path) if suffix == ".nc" else xr.open_zarr(path, chunks=None) as file:
        for c, channel in enumerate(layout.channels):
            np.testing.assert_array_equal(file[channel.name].values, values[:, :, c])
            assert file[channel.name].attrs["units"] == channel.units
            assert file[channel.name].attrs["standard_name"] == channel.standard_name
            assert file[channel.name].attrs["long_name"] == channel.long_name
        np.testing.assert_array_equal(file.valid_time.values, layout.valid_time)
        np.testing.assert_array_equal(file.init_time.values, layout.init_time)
        np.testing.assert_allclose(file.latitude, GRID.latitude.numpy(), atol=1e-12)
        if kind != "months":
            whole = file.init_time.values[:, None] + file.lead_time.values[None]
            np.testing.assert_array_equal(whole, file.valid_time.values)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_cf(tmp_path, kind):
    checker = Path(sys.executable).with_name("compliance-checker")
    if not checker.exists():
        pytest.skip("compliance-checker is not installed")
    write(tmp_path / "f.nc", kind)
    command = [checker, "--test=cf:1.8", "--criteria=lenient", "f.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # It would have lead_time to the left of init_time, which WeatherBench and we have not.
    sections = {line for line in done.stdout.splitlines() if line.startswith("§")}
    assert sections <= {"§2.4 Dimensions"}, done.stdout
    assert "Errors" not in done.stdout


@pytest.mark.skipif(shutil.which("cdo") is None, reason="cdo is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_cdo_recognises_grid_and_time_axis(tmp_path, kind):
    write(tmp_path / "f.nc", kind)
    command = ["cdo", "-s", "sinfon", "f.nc"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "gaussian" in said and "points=128 (16x8)" in said
    assert "longitude : 0 to 337.5 by 22.5 degrees_east  circular" in said
    assert "init_time : 3 steps" in said
    for time in axes(kind).init_time:
        assert str(time.astype("datetime64[s]")).replace("T", " ") in said


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_memory_does_not_grow_with_the_number_of_steps(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("forecast.inference.writing.blocks._PIECE_BYTES", 2**13)

    def peak(n_steps: int) -> int:
        layout = axes("series", n_steps)
        state = fields(axes("series", 0))[:, 0]
        writer = ForecastWriter(tmp_path / f"{n_steps}{suffix}", layout, ATTRIBUTES)
        tracemalloc.start()
        with writer:
            for k in range(n_steps + 1):
                writer.write([0, 1, 2], k, state + k)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(400) < 1.5 * peak(50)


@pytest.mark.parametrize(("seconds", "saved"), [(1, [4, 9, 14]), (7, [2, 4, 6, 8, 9, 11, 13, 14])])
def test_a_state_is_saved_between_blocks_unless_they_take_long(
    tmp_path, monkeypatch, seconds, saved
):
    now = 0.0
    monkeypatch.setattr("forecast.inference.writer.time.monotonic", lambda: now)
    monkeypatch.setattr("forecast.inference.writer._COSTS", 0)
    monkeypatch.setattr("forecast.inference.writing.blocks._PIECE_BYTES", 5 * 4 * 8 * 16)
    layout = axes("series", n_steps=14)
    state, found = fields(axes("series", 0))[:, 0], []
    with ForecastWriter(tmp_path / "f.zarr", layout, ATTRIBUTES) as writer:
        for k in range(15):
            writer.write([0, 1, 2], k, state)
            now = float(k * seconds)
            if writer.due():
                writer.save(0, k, {})
                found.append(k)
    assert found == saved


@pytest.mark.parametrize("compressed", [True, False])
def test_fields_are_compressed_unless_they_are_read_once(tmp_path, compressed):
    file = ZarrFormat(tmp_path / "f.zarr", new=True, compressed=compressed)
    define(file, axes("series"), ATTRIBUTES, 5, 8)
    values = np.ones((1, 5, 8, 16), dtype=np.float32)
    file.put("t2m", (slice(0, 1),), values)
    folder = tmp_path / "f.zarr" / "t2m"
    chunk = next(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")
    assert (chunk.stat().st_size < values.nbytes / 4) == compressed
    assert (chunk.parent != folder) == compressed
    np.testing.assert_array_equal(file.get("t2m", (slice(0, 1),)), values)
    chunk.write_bytes(bytes([*chunk.read_bytes()[:-9], *range(9)]))
    with pytest.raises(ValueError, match="checksum"):
        file.get("t2m", (slice(0, 1),))


def test_a_field_that_is_missing_takes_no_space(tmp_path):
    layout = axes("series")
    values = fields(layout)
    values[1] = np.nan
    with ForecastWriter(tmp_path / "f.zarr", layout, ATTRIBUTES) as writer:
        for k in range(5):
            writer.write([0, 1, 2], k, values[:, k])
    assert sorted(p.name for p in (tmp_path / "f.zarr" / "t2m" / "c").iterdir()) == ["0", "2"]
    np.testing.assert_array_equal(ForecastFile(tmp_path / "f.zarr").states(1, slice(5)), values[1])


def test_what_is_not_written_is_missing(tmp_path):
    layout = axes("series")
    with ForecastWriter(tmp_path / "f.nc", layout, ATTRIBUTES) as writer:
        writer.write([0, 2], 0, fields(layout)[[0, 2], 0])
        writer.end(1, -1)
    with xr.open_dataset(tmp_path / "f.nc") as file:
        finite = np.isfinite(file.t2m).all(["latitude", "longitude"]).values
        np.testing.assert_array_equal(finite[:, 0], [True, False, True])
        assert not finite[:, 1:].any()
        np.testing.assert_array_equal(file.last_step, [4, -1, 4])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_error_while_writing_leaves_nothing(tmp_path, suffix):
    layout = axes("series")
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with ForecastWriter(tmp_path / f"f{suffix}", layout, ATTRIBUTES) as writer:
            writer.write([0], 0, fields(layout)[:1, 0])
            assert not (tmp_path / f"f{suffix}").exists()
            raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "kind"), [("NetCDF", RuntimeError), ("Zarr", OSError)])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch, name, kind):
    def fail(*args):
        raise kind("NetCDF: HDF error")

    monkeypatch.setattr(f"forecast.inference.writing.file_formats.{name}Format.put", fail)
    with pytest.raises(OSError, match=r"cannot write .*f\.nc \(NetCDF: HDF error; \d+ MB are free"):
        write(tmp_path / "f.nc", "series")
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "there.nc").write_text("precious")
    for name, kind, message in (
        ("there.nc", FileExistsError, "exists; remove it or choose another path"),
        ("f.grib", ValueError, "ends in '.grib'; expected .nc or .zarr"),
        ("nowhere/f.nc", FileNotFoundError, "folder of output"),
    ):
        with pytest.raises(kind, match=message):
            ForecastWriter(tmp_path / name, axes("series"), ATTRIBUTES)
    assert (tmp_path / "there.nc").read_text() == "precious"


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_knows_what_the_writer_was_told(tmp_path, kind):
    layout, values = write(tmp_path / "f.zarr", kind)
    file = ForecastFile(tmp_path / "f.zarr")
    assert file.grid == GRID
    assert file.channel_names == tuple(v.name for v in layout.channels)
    assert file.time_step == layout.time_step
    np.testing.assert_array_equal(file.steps, layout.steps)
    np.testing.assert_array_equal(file.states(1, slice(1, 3)), values[1, 1:3])


def test_a_zarr_forecast_of_any_chunks_is_read_as_the_library_reads_it(tmp_path):
    _, values = write(tmp_path / "f.zarr", "series")
    file = ForecastFile(tmp_path / "f.zarr")
    other = file.dataset.load().drop_encoding()
    encoding = {name: {"chunks": (2, 2, 3, 16)} for name in file.channel_names}
    other.to_zarr(tmp_path / "other.zarr", encoding=encoding, consolidated=False)
    for path in (tmp_path / "f.zarr", tmp_path / "other.zarr"):
        file = ForecastFile(path)
        for positions in (slice(None), slice(1, 4), slice(3, None), slice(None, None, 2)):
            for i in (0, np.int64(2), -1):
                found = file.states(i, positions)
                np.testing.assert_array_equal(found, values[i, positions])
        np.testing.assert_array_equal(file.field("t2m", 1, np.int64(3)), values[1, 3, 1])


def test_lead_times_and_starts_are_found_by_what_a_person_types(tmp_path):
    write(tmp_path / "f.nc", "series")
    write(tmp_path / "m.nc", "months")
    write(tmp_path / "t.nc", "trajectories")
    series, months, trajectories = (ForecastFile(tmp_path / f"{x}.nc") for x in "fmt")
    assert [series.find_lead(x) for x in ("12h", "1d", "6", 18, "0", None)] == [2, 4, 1, 3, 0, 4]
    assert [months.find_lead(x) for x in ("2mo", 3, "1 month")] == [2, 3, 1]
    assert series.lead_label(3) == "18 h" and months.lead_label(1) == "1 month"
    assert [series.find_forecast(x) for x in ("2001-01-02", 1, None)] == [2, 1, 0]
    assert [trajectories.find_forecast(x) for x in (5, "7", None)] == [1, 2, 0]
    with pytest.raises(ValueError, match="no lead time '7h'; it has 0 h to 24 h every 6 h"):
        series.find_lead("7h")
    with pytest.raises(ValueError, match="no forecast with trajectory '3'; it has 3, from 4 to 7"):
        trajectories.find_forecast(3)
    with pytest.raises(ValueError, match=r"no variable 'z50'; it has z500, t2m \(nearest: z500\)"):
        series.check_variable("z50")


def test_files_that_are_no_forecast_are_refused(tmp_path):
    (tmp_path / "text.nc").write_text("hello")
    xr.Dataset({"x": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc")
    for name, kind, message in (
        ("absent.nc", FileNotFoundError, "no forecast at .*absent.nc; make one with"),
        ("text.nc", ValueError, "neither netCDF nor zarr"),
        ("other.nc", ValueError, r"not a forecast file \(no channels, init_time, lead_time"),
    ):
        with pytest.raises(kind, match=message):
            ForecastFile(tmp_path / name)


@pytest.mark.parametrize("kind", ["series", "trajectories"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_members_are_read_as_they_were_written_in_any_batches(tmp_path, suffix, kind):
    layout = replace(axes(kind), member=np.array([0, 2, 3]))
    assert layout.shape == (3, 3, 5, 8, 16)
    n_channels = len(layout.channels)
    values = np.random.default_rng(0).normal(2.0, 3.0, (9, 5, n_channels, 8, 16)).astype("f4")
    path = tmp_path / f"f{suffix}"
    with ForecastWriter(path, layout, ATTRIBUTES, batch_size=4) as writer:
        for rows in ([0, 1, 2, 3], [4, 5, 6, 7], [8]):
            for k in range(5):
                writer.write(rows, k, values[rows, k])
        writer.end(5, 2)
    values = values.reshape(3, 3, 5, n_channels, 8, 16)
    file = ForecastFile(path)
    assert (file.n_members, file.member.tolist()) == (3, [0, 2, 3])
    np.testing.assert_array_equal(file.ensemble(1, slice(1, 3)), values[1, :, 1:3])
    np.testing.assert_array_equal(file.states(2, slice(0, 4), member=1), values[2, 1, :4])
    mean = values[0].mean(0, dtype="f8").astype("f4")
    np.testing.assert_array_equal(file.states(0, slice(None)), mean)
    name = layout.channels[1].name
    np.testing.assert_array_equal(file.field(name, 1, 4, member=2), values[1, 2, 4, 1])
    np.testing.assert_array_equal(file.field(name, 0, 4), mean[4, 1])
    np.testing.assert_array_equal(file.member_last_step, [[4, 4, 4], [4, 4, 2], [4, 4, 4]])
    np.testing.assert_array_equal(file.last_step, [4, 2, 4])
    assert file.dataset.member.attrs["standard_name"] == "realization"
    assert file.dataset[name].dims[1:3] == ("member", "lead_time")


def test_a_file_without_members_is_an_ensemble_of_one(tmp_path):
    _, values = write(tmp_path / "f.nc", "series")
    file = ForecastFile(tmp_path / "f.nc")
    assert file.member is None and file.n_members == 1 and "member" not in file.dataset.dims
    np.testing.assert_array_equal(file.ensemble(1, slice(2)), values[None, 1, :2])


def test_a_file_with_members_is_cf(tmp_path):
    checker = Path(sys.executable).with_name("compliance-checker")
    if not checker.exists():
        pytest.skip("compliance-checker is not installed")
    layout = replace(axes("series"), member=np.arange(2))
    with ForecastWriter(tmp_path / "f.nc", layout, ATTRIBUTES) as writer:
        writer.write([0], 0, fields(axes("series"))[:1, 0])
    command = [checker, "--test=cf:1.8", "--criteria=lenient", "f.nc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Errors" not in done.stdout, done.stdout + done.stderr
