"""Forecasts as GRIB 2, read by eccodes, by our own ingestion, and by cdo."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from forecast.inference.forecast import run_rollout
from forecast.inference.reader import ForecastFile
from forecast.interop.grib import export_grib
from tests.forecast.inference.test_cdo import cdo
from tests.forecast.stand_in import Turning

eccodes = pytest.importorskip("eccodes")
CHANNELS = ("sst", "t850", "u10", "r500")


@pytest.fixture(scope="module")
def file(make_store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("grib")
    store = make_store(
        folder / "s.zarr", "files", channels=CHANNELS, time_step="6h", n_times=24, mask=True
    )
    run_rollout(Turning(store), store, folder / "f.nc", n_steps=3, every=1)
    return folder / "f.nc"


def messages(path: Path) -> list[tuple[dict, np.ndarray]]:
    keys = ("shortName", "units", "typeOfLevel", "level", "dataDate", "dataTime", "endStep",
            "validityDate", "validityTime", "gridType", "stepRange", "edition")  # fmt: skip
    found = []
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            keyed = {key: eccodes.codes_get(handle, key) for key in keys}
            for key in ("number", "numberOfForecastsInEnsemble"):
                if eccodes.codes_is_defined(handle, key):
                    keyed[key] = eccodes.codes_get(handle, key)
            eccodes.codes_set(handle, "missingValue", 1e30)
            values = eccodes.codes_get_values(handle)
            found.append((keyed, np.where(values == 1e30, np.nan, values)))
            eccodes.codes_release(handle)
    return found


def test_every_field_is_a_message_with_its_times_level_and_units(file: Path, tmp_path) -> None:
    count = export_grib(file, tmp_path / "f.grib2")
    found, source = messages(tmp_path / "f.grib2"), ForecastFile(file)
    assert count == len(found) == len(source.init_time) * 4 * len(CHANNELS)
    names = {"sst": "tos", "t850": "t", "u10": "10u", "r500": "r"}
    convert = {"sst": lambda x: x + 273.15, "r500": lambda x: 100 * x}
    i = iter(found)
    for n, start in enumerate(source.init_time):
        for k in range(4):
            for name in CHANNELS:
                keys, values = next(i)
                valid = start + np.timedelta64(6 * k, "h")
                assert keys["shortName"] == names[name] and keys["edition"] == 2
                assert keys["endStep"] == 6 * k and keys["gridType"] == "regular_gg"
                assert f"{keys['dataDate']}" == str(start)[:10].replace("-", "")
                assert f"{keys['validityTime']:04d}" == str(valid)[11:16].replace(":", "")
                assert keys["level"] == {"t850": 850, "r500": 500, "u10": 10}.get(name, 0)
                expected = source.field(name, n, k).astype(float).ravel()
                expected = convert.get(name, lambda x: x)(expected)
                error = np.nanmax(np.abs(values - expected))
                assert error <= np.ptp(expected[np.isfinite(expected)]) * 2**-16
                np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))


def test_members_are_perturbed_forecasts(file: Path, tmp_path) -> None:
    with xr.open_dataset(file) as data:
        fields = data.drop_vars("sst").isel(init_time=slice(0, 1)).load()
    fields.attrs["channels"] = "t850 u10 r500"
    members = [fields.copy() for _ in range(3)]
    for m, member in enumerate(members):
        member["t850"] = member.t850 + m
    together = xr.concat(members, "member", data_vars=["t850", "u10", "r500"], coords="minimal")
    together = together.transpose("init_time", "member", ...).assign_coords(
        member=np.arange(3, dtype="i4")
    )
    together.to_netcdf(tmp_path / "m.nc", unlimited_dims=[])
    export_grib(tmp_path / "m.nc", tmp_path / "m.grib2", variables=["t850"], bits=24)
    found = messages(tmp_path / "m.grib2")
    assert [keys["number"] for keys, _ in found] == [0] * 4 + [1] * 4 + [2] * 4
    assert {keys["numberOfForecastsInEnsemble"] for keys, _ in found} == {3}
    np.testing.assert_allclose(found[8][1] - found[0][1], 2, atol=1e-5)


def test_amounts_have_the_period_of_a_step(make_store, tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", "files", channels=("tp",), time_step="6h", n_times=24)
    run_rollout(Turning(store), store, tmp_path / "f.nc", n_steps=2, every=1)
    export_grib(tmp_path / "f.nc", tmp_path / "f.grib2")
    ranges = [keys["stepRange"] for keys, _ in messages(tmp_path / "f.grib2")]
    assert ranges[:4] == ["0-6", "6-12", "0-6", "6-12"]


def test_cdo_reads_the_fields(file: Path, tmp_path: Path) -> None:
    export_grib(file, tmp_path / "f.grib2", variables=["t850", "u10"])
    said = cdo("sinfon", tmp_path / "f.grib2")
    assert "gaussian" in said and "points=128 (16x8)" in said
    cdo("-f", "nc4", "selname,10u", tmp_path / "f.grib2", tmp_path / "u.nc")
    with xr.open_dataset(tmp_path / "u.nc", decode_times=False) as found:
        field = found["10u"].squeeze()
        source = ForecastFile(file)
        np.testing.assert_allclose(field[0], source.field("u10", 0, 0), atol=1e-3)


def test_cfgrib_reads_the_fields_by_start_and_step(file: Path, tmp_path: Path) -> None:
    export_grib(file, tmp_path / "f.grib2", variables=["t850", "r500"], bits=24)
    with xr.open_dataset(
        tmp_path / "f.grib2", engine="cfgrib", backend_kwargs={"indexpath": "",
        "filter_by_keys": {"shortName": "t"}}, decode_timedelta=True,
    ) as found:  # fmt: skip
        source = ForecastFile(file)
        assert found.t.shape == (len(source.init_time), 4, 8, 16)
        np.testing.assert_array_equal(found.step / np.timedelta64(6, "h"), np.arange(4))
        np.testing.assert_allclose(found.t[1, 2], source.field("t850", 1, 2), rtol=0, atol=1e-7)


def test_what_grib_does_not_have_is_refused(make_store, tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr")
    run_rollout(Turning(store), store, tmp_path / "f.nc", n_steps=2)
    with pytest.raises(ValueError, match="GRIB has no parameter for geopotential in m2 s-2"):
        export_grib(tmp_path / "f.nc", tmp_path / "f.grib2")
    assert not list(tmp_path.glob("*.grib2*"))
    with pytest.raises(ValueError, match=r"f\.nc.*\.grib2"):
        export_grib(tmp_path / "f.nc", tmp_path / "f.nc")
    with pytest.raises(ValueError, match="40 bits; expected 1 to 24"):
        export_grib(tmp_path / "f.nc", tmp_path / "f.grib2", bits=40)
