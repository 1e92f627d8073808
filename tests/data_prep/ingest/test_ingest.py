"""Ingestion of one field in the layouts of many archives, which gives the same store."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.schema import FilesData, SplitFractions
from data_prep.ingest import plan, reading
from data_prep.ingest.run import ingest
from data_prep.store.describe import describe
from sphere_ops.grid import Grid

GRID = Grid.equiangular(13, 24)
TIMES = np.datetime64("2001-01-01T00", "ns") + np.arange(8) * np.timedelta64(6, "h")
Gridded = Callable[..., xr.Dataset]
Save = Callable[..., Path]
Truth = Callable[..., np.ndarray]


def stored(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None).load()


def splits(train: tuple[str, str], validation: tuple[str, str], test: tuple[str, str]) -> dict:
    named = {"train": train, "validation": validation, "test": test}
    return {name: {"first": first, "last": last} for name, (first, last) in named.items()}


LAYOUTS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "canonical order": lambda d: d,
    "south first": lambda d: d.isel(latitude=slice(None, None, -1)),
    "from 180 W": lambda d: (
        d.assign_coords(longitude=(d.longitude + 180) % 360 - 180)
        .sortby("longitude")
        .assign_coords(longitude=lambda x: x.longitude.astype("f4"))
    ),
    "columns before rows": lambda d: d.transpose("longitude", "latitude", "time"),
    "short names of dimensions": lambda d: d.rename(latitude="lat", longitude="lon"),
    "upper case and Celsius": lambda d: (
        (d - 273.15)
        .rename(t2m="T2M", time="TIME")
        .assign(T2M=lambda x: x.T2M.assign_attrs(units="Deg C"))
    ),
    "alias": lambda d: d.rename(t2m="2m_temperature"),
    "a single height": lambda d: (
        d.rename(t2m="tas_mean")
        .assign(tas_mean=lambda x: x.tas_mean.assign_attrs(standard_name="air_temperature"))
        .assign(height=((), 2.0, {"standard_name": "height", "units": "m"}))
    ),
    "one member": lambda d: d.expand_dims(number=[0], axis=1),
    "new Copernicus": lambda d: d.rename(time="valid_time").assign_coords(
        expver=("valid_time", ["0001"] * len(TIMES)), number=0
    ),
    "final and preliminary ERA5": lambda d: xr.concat(
        [d.where(d.time < TIMES[5]), d.where(d.time >= TIMES[5])], "expver"
    ).transpose("time", "expver", ...),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_archives_give_the_same_store(
    layout: str, gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    path = save(LAYOUTS[layout](gridded(GRID)))
    store = stored(ingest([path], FilesData(variables=("t2m",)), tmp_path / "store"))
    np.testing.assert_allclose(store.fields[:, 0], truth(GRID, TIMES), rtol=3e-7)
    np.testing.assert_array_equal(store.time, TIMES)
    np.testing.assert_array_equal(store.latitude, GRID.latitude)
    np.testing.assert_array_equal(store.longitude, GRID.longitude)
    assert store.fields.dtype == np.float32


def test_packed_values_are_unpacked_to_half_a_step(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    packing = {"dtype": "int16", "scale_factor": -0.01, "add_offset": 280.0, "_FillValue": -32767}
    path = save(gridded(GRID), format="NETCDF3_CLASSIC", encoding={"t2m": packing})
    store = stored(ingest([path], FilesData(variables=("t2m",)), tmp_path / "store"))
    np.testing.assert_allclose(store.fields[:, 0], truth(GRID, TIMES), atol=0.0051)


@pytest.mark.parametrize("pascal", [False, True])
@pytest.mark.parametrize("name", ["level", "pressure_level", "plev", "isobaricInhPa"])
def test_a_level_is_taken_out_by_its_pressure(
    name: str, pascal: bool, gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    levels = np.array([200.0, 500.0, 850.0])
    data = gridded(GRID, units="m**2 s**-2", z=0.0)
    heights = data.z.expand_dims({name: 1e4 * levels}, axis=1)
    data = data.assign(z=(heights + heights[name]).assign_attrs(units="m**2 s**-2"))
    attributes = {"standard_name": "air_pressure", "units": "Pa" if pascal else "hPa"}
    data = data.assign_coords({name: (name, levels * (100 if pascal else 1), attributes)})
    config = FilesData(variables=("z850", "z200"))
    store = stored(ingest([save(data)], config, tmp_path / "store"))
    assert store.channel.values.tolist() == ["z850", "z200"]
    expected = np.stack([truth(GRID, TIMES, 8.5e6), truth(GRID, TIMES, 2e6)], axis=1)
    np.testing.assert_allclose(store.fields, expected, rtol=2e-7)


def test_geopotential_height_becomes_geopotential(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    data = gridded(GRID, units="gpm", HGT=5500.0)
    config = FilesData(variables=("z500",), rename={"HGT": "z500"})
    store = stored(ingest([save(data)], config, tmp_path / "store"))
    np.testing.assert_allclose(store.fields[:, 0], 9.80665 * truth(GRID, TIMES, 5500.0), rtol=2e-7)


def test_variables_and_times_may_be_spread_over_files_in_any_order(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    t2m, u10 = gridded(GRID), gridded(GRID, units="m/s", u10=4.0)
    paths = [
        save(t2m.isel(time=slice(5, 8)), "c.nc"),
        save(u10.isel(time=[0, 2, 4, 6]), "even.nc"),
        save(t2m.isel(time=slice(0, 5)), "a.nc"),
        save(u10.isel(time=[1, 3, 5, 7]).isel(latitude=slice(None, None, -1)), "odd.nc"),
    ]
    store = stored(ingest(paths, FilesData(variables=("u10", "t2m")), tmp_path / "store"))
    expected = np.stack([truth(GRID, TIMES, 4.0), truth(GRID, TIMES)], axis=1)
    np.testing.assert_allclose(store.fields, expected, rtol=1e-6)
    sources = json.loads(store.attrs["provenance"])["sources"]
    assert {s["name"]: s["size"] for s in sources} == {p.name: p.stat().st_size for p in paths}


def test_small_blocks_and_small_reads_give_the_same_store(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_SHARD_BYTES", 3 * 4 * 13 * 24)
    monkeypatch.setattr(reading, "_TOGETHER", 2 * 4 * 13 * 24)
    seen = []
    ingest(
        [save(gridded(GRID))], FilesData(variables=("t2m",)), tmp_path / "store",
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    np.testing.assert_allclose(
        stored(tmp_path / "store").fields[:, 0], truth(GRID, TIMES), rtol=3e-7
    )
    # Blocks of 3, 3 and 2 times are written in parallel, in any order.
    done = [0, *(count for count, total in seen if total == 8)]
    assert sorted(b - a for a, b in zip(done, done[1:], strict=False)) == [2, 3, 3]


def test_zarr_is_read_like_netcdf(gridded: Gridded, truth: Truth, tmp_path: Path) -> None:
    gridded(GRID).to_zarr(tmp_path / "in.zarr", zarr_format=3, consolidated=False)
    config = FilesData(variables=("t2m",))
    store = stored(ingest([tmp_path / "in.zarr"], config, tmp_path / "store"))
    np.testing.assert_allclose(store.fields[:, 0], truth(GRID, TIMES), rtol=3e-7)


def test_one_value_of_a_further_dimension_is_selected(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    data = gridded(GRID)
    members = xr.concat([data + 10 * k for k in range(3)], "number").assign_coords(number=[4, 5, 6])
    members["t2m"].attrs["units"] = "K"
    config = FilesData(variables=("t2m",), select={"number": 5})
    store = stored(ingest([save(members)], config, tmp_path / "store"))
    np.testing.assert_allclose(store.fields[:, 0], truth(GRID, TIMES, 290.0), rtol=3e-7)


def test_files_are_brought_onto_the_grid_of_the_configuration(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    fine = Grid.equiangular(91, 180)
    config = FilesData(variables=("t2m",), grid={"kind": "legendre-gauss", "nlat": 16, "nlon": 32})
    store = stored(ingest([save(gridded(fine))], config, tmp_path / "store"))
    grid = Grid.legendre_gauss(16, 32)
    np.testing.assert_array_equal(store.latitude, grid.latitude)
    # A cell's mean differs from the value at its centre by its curvature, 15 K · (Δ/2)² / 6.
    np.testing.assert_allclose(store.fields[:, 0], truth(grid, TIMES), atol=0.1)
    assert store.attrs["grid_kind"] == "legendre-gauss"


def test_static_fields_come_from_files_of_their_own_grid(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    fine = Grid.cell_centred(90, 180)
    height = 4000 * np.cos(np.radians(fine.latitude.numpy()))[:, None] * np.ones(180)
    coords = gridded(fine).coords
    static = xr.Dataset(
        {
            "z0": (("latitude", "longitude"), 9.80665 * height, {"units": "m**2 s**-2"}),
            "lsm": (("latitude", "longitude"), np.full(fine.shape, 30), {"units": "%"}),
        },
        coords,
    )
    # As archives stamp them: one time that means nothing, in a calendar that nobody uses.
    stamp = ("time", [0.0], {"units": "days since 0001-01-01", "calendar": "360_day"})
    static = static.drop_vars("time").expand_dims("time").assign_coords(time=stamp)
    config = FilesData(variables=("t2m",), static=("orography", "land_fraction"))
    paths = [save(gridded(GRID)), save(static, "static.nc")]
    store = stored(ingest(paths, config, tmp_path / "store"))
    assert store.channel_static.values.tolist() == ["orography", "land_fraction"]
    expected = 4000 * np.cos(np.radians(GRID.latitude.numpy()))
    # Next to the poles the cells' areas are the quadrature's, and their centres a little off.
    np.testing.assert_allclose(store.static[0, 2:-2, 5], expected[2:-2], atol=15)
    np.testing.assert_allclose(store.static[1], 0.3, rtol=1e-6)
    assert store.static.channel_static_units.values.tolist() == ["m", "1"]


def test_land_becomes_a_mask_and_takes_no_part_in_the_statistics(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    land = np.zeros(GRID.shape, dtype=bool)
    land[3:6, 4:12] = True
    data = gridded(GRID, units="degC", sst=15.0).where(~xr.DataArray(land, dims=data_dims()))
    data["sst"].attrs["units"] = "degC"
    config = FilesData(
        variables=("sst",), mask=("sst",),
        splits=splits(("2001-01-01", "2001-01-01"), ("2001-01-02T00", "2001-01-02T06"),
                      ("2001-01-02T12", "2001-01-02")),
    )  # fmt: skip
    store = stored(ingest([save(data)], config, tmp_path / "store"))
    np.testing.assert_array_equal(store.mask[0], ~land)
    assert store.split.values.tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    weights = np.where(land, 0, GRID.area_weights.numpy())
    x = truth(GRID, TIMES, 15.0)[:4]
    mean = (x * weights).sum() / (4 * weights.sum())
    np.testing.assert_allclose(store["mean"], [mean], rtol=1e-6)


def data_dims() -> tuple[str, str]:
    return "latitude", "longitude"


def test_monthly_means_stamped_anywhere_in_their_month_are_one_series(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    stamps = np.array(["2001-01-16T12", "2001-02-01", "2001-03-31T18"], dtype="M8[ns]")
    config = FilesData(variables=("t2m",), time_step="1mo")
    store = stored(ingest([save(gridded(GRID, stamps))], config, tmp_path / "store"))
    assert store.time.dt.strftime("%Y-%m-%d").values.tolist() == [
        "2001-01-01", "2001-02-01", "2001-03-01",
    ]  # fmt: skip


def test_the_store_remembers_the_configuration_that_made_it(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    import yaml

    config = FilesData(variables=("t2m",), rename={"x": "t2m"})
    data = gridded(GRID).rename(t2m="x")
    store = stored(ingest([save(data)], config, tmp_path / "store"))
    assert FilesData(**yaml.safe_load(store.attrs["configuration"])) == config
    assert "torch" in json.loads(store.attrs["provenance"])["packages"]


def test_a_store_of_anomalies_or_of_forecasts_says_so(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    data = gridded(GRID, t2m=0.0, units="K", u10=0.0)
    data["t2m"].attrs["long_name"] = "Temperature anomaly"
    data["u10"].attrs["units"] = "m s-1"
    start = data.time - np.timedelta64(120, "h")
    data = data.rename(time="valid_time").assign_coords(
        reference=("valid_time", start.values, {"standard_name": "forecast_reference_time"})
    )
    config = FilesData(variables=("t2m", "u10"))
    text = describe(ingest([save(data)], config, tmp_path / "store"))
    assert "t2m is an anomaly (t2m)" in text
    assert "u10 is a forecast, 120 h ahead" in text


def test_times_are_added_to_the_split_that_holds_them(
    gridded: Gridded, save: Save, truth: Truth, tmp_path: Path
) -> None:
    first = save(gridded(GRID).isel(time=slice(0, 6)))
    later = save(gridded(GRID).isel(time=slice(6, 8)), "later.nc")
    ranges = splits(("2001-01-01", "2001-01-01"), ("2001-01-02T00", "2001-01-02T00"),
                    ("2001-01-02T06", "2001-01-02"))  # fmt: skip
    config, out = FilesData(variables=("t2m",), splits=ranges), tmp_path / "store"
    before = stored(ingest([first], config, out))
    ingest([first, later], config, out, append=True)
    store = stored(out)
    np.testing.assert_allclose(store.fields[:, 0], truth(GRID, TIMES), rtol=3e-7)
    assert store.split.values.tolist() == ["train"] * 4 + ["validation"] + ["test"] * 3
    np.testing.assert_array_equal(store["mean"], before["mean"])
    fractions = config.model_copy(update={"splits": SplitFractions(train=0.8, validation=0.1,
                                                                   test=0.1)})  # fmt: skip
    more = save(gridded(GRID, TIMES + np.timedelta64(48, "h")), "more.nc")
    with pytest.raises(ValueError, match="fractions, which times that are added would shift"):
        ingest([more], fractions, out, append=True)


def test_a_range_without_dates_is_refused_for_added_times_too(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    first = save(gridded(GRID).isel(time=slice(0, 6)))
    later = save(gridded(GRID).isel(time=slice(6, 8)), "later.nc")
    out = ingest([first], FilesData(variables=("t2m",)), tmp_path / "store")
    ranges = splits(("soon", "later"), ("2001-01-02", "2001-01-02"), ("2002", "2002"))
    config = FilesData(variables=("t2m",), splits=ranges)
    with pytest.raises(ValueError, match="expected dates such as"):
        ingest([later], config, out, append=True)
