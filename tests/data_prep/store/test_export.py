"""NetCDF export of a store: CF conventions, and compatibility with other tools."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.variables import Variable, variable
from data_prep.store.export import export_netcdf
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid

GRIDS = {
    "gaussian": Grid.legendre_gauss(8, 16),
    "lonlat": Grid("cell-centred", 9, 18, first_longitude=10.0),
}
HOURS = np.datetime64("2000-01-01T00", "h") + np.arange(3)


def spec(grid: Grid, channels: tuple[Variable, ...], trajectories: bool) -> StoreSpec:
    mask = np.ones((len(channels), *grid.shape), dtype=bool)
    mask[0, 2:5, 3:9] = False
    return StoreSpec(
        grid=grid, channels=channels, time=HOURS, time_step="1h", title="A store", source="a test",
        configuration="source: files\n", sources=[{"name": "a.nc", "size": 10}],
        split=["train", "test"] if trajectories else ["train", "", "test"],
        trajectories=Trajectories(np.array([3, 4]), ("galewsky", "random")) if trajectories else
        None,
        mask=None if trajectories else mask,
        static={variable("orography"): np.linspace(0, 4e3, grid.nlat * grid.nlon).reshape(
            grid.shape)},
    )  # fmt: skip


@pytest.fixture(params=[(g, t) for g in GRIDS for t in (False, True)], ids=str)
def exported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[xr.Dataset, Path]:
    """Store and its export."""
    grid, trajectories = GRIDS[request.param[0]], request.param[1]
    names = (
        ("geopotential", "vorticity") if trajectories else ("sst", "z500", "o3500", "t850", "tp")
    )
    what = spec(grid, tuple(map(variable, names)), trajectories)
    values = np.random.default_rng(0).normal(9.0, 2.0, what.shape).astype("f4")
    with StoreWriter(tmp_path / "store", what) as writer:
        if trajectories:
            for index in writer.missing:
                writer.write_trajectory(index, values[index])
        else:
            writer.write_times(slice(0, 3), values)
        writer.finalise()
    store = xr.open_zarr(tmp_path / "store", consolidated=False, chunks=None).load()
    return store, export_netcdf(tmp_path / "store", tmp_path / "out.nc")


def test_export_holds_the_fields_of_the_store(exported: tuple[xr.Dataset, Path]) -> None:
    store, path = exported
    with xr.open_dataset(path) as out:
        for c, name in enumerate(map(str, store.channel.values)):
            expected = store.fields.isel(channel=c, drop=True).transpose(*out[name].dims)
            np.testing.assert_array_equal(out[name], expected)
            assert out[name].attrs["units"] == str(store.channel_units.values[c])
            at_500 = "pressure_500" in out[name].encoding.get("coordinates", "")
            assert at_500 == (variable(name).level == 500), name
        np.testing.assert_array_equal(out.time, store.time)
        np.testing.assert_array_equal(out.orography, store.static[0])
        meanings = out.split.attrs["flag_meanings"].replace("none", "-").split()
        names = [meanings[code].replace("-", "") for code in out.split.values]
        assert names == store.split.values.tolist()


def test_export_passes_the_cf_checker(exported: tuple[xr.Dataset, Path], tmp_path: Path) -> None:
    pytest.importorskip("compliance_checker", reason="compliance-checker is not installed")
    tool = Path(sys.executable).with_name("compliance-checker")
    run = subprocess.run(
        [tool, "--test=cf:1.8", "--format=json", "--output", tmp_path / "report", exported[1]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    import json

    report = json.loads((tmp_path / "report").read_text())["cf:1.8"]
    errors = [item["msgs"] for item in report["high_priorities"] if item["msgs"]]
    assert errors == [], run.stdout


def test_cdo_recognises_grid_and_time(exported: tuple[xr.Dataset, Path]) -> None:
    if shutil.which("cdo") is None:
        pytest.skip("cdo is not installed")
    store, path = exported
    run = subprocess.run(
        ["cdo", "-s", "sinfon", str(path)], capture_output=True, text=True, check=True
    )
    kind = "gaussian" if store.sizes["latitude"] == 8 else "lonlat"
    points = f"({store.sizes['longitude']}x{store.sizes['latitude']})"
    assert kind in run.stdout and points in run.stdout
    assert "time : 3 steps" in run.stdout
    assert "2000-01-01 02:00:00" in run.stdout
    for name in map(str, store.channel.values):
        assert f": {name} " in run.stdout
    assert "orography" in run.stdout


def test_export_does_not_overwrite(exported: tuple[xr.Dataset, Path], tmp_path: Path) -> None:
    before = exported[1].read_bytes()
    with pytest.raises(FileExistsError, match="exists; remove it"):
        export_netcdf(tmp_path / "store", exported[1])
    assert exported[1].read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]
