"""Names, units and calendars that the configuration gives to sources."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from configs.schema import FilesData
from data_prep.ingest.catalogue.times import find_time, valid_times
from data_prep.ingest.sources import Sources
from tests.data_prep.ingest.sources.samples import count_open


def opened(path: Path, **settings: Any) -> xr.Dataset:
    with Sources([path], FilesData(variables=("t2m",), **settings)) as sources:
        (dataset,) = sources[path]
        return dataset.load()


def test_dimensions_get_their_names_and_attributes(fields: xr.Dataset, tmp_path: Path) -> None:
    data = fields.expand_dims(height=[500.0, 850.0]).rename(
        time="t", latitude="y", longitude="x", height="z"
    )
    for name in "xyz":
        data[name].attrs = {}
    data.to_netcdf(tmp_path / "a.nc")
    kinds = {"t": "time", "y": "latitude", "x": "longitude", "z": "level"}
    found = opened(tmp_path / "a.nc", dimensions=kinds)
    assert found.t2m.dims == ("level", "time", "latitude", "longitude")
    np.testing.assert_array_equal(found.t2m.values[0], fields.t2m)
    assert found.latitude.attrs["units"] == "degrees_north"
    assert found.longitude.attrs["standard_name"] == "longitude"
    assert found.level.attrs == {"units": "hPa", "standard_name": "air_pressure"}
    assert found.time.attrs["units"] == "hours since 2001-01-01"


def test_attributes_of_the_file_are_kept(fields: xr.Dataset, tmp_path: Path) -> None:
    data = fields.expand_dims(z=[50000.0]).assign_coords(z=("z", [50000.0], {"units": "Pa"}))
    data.to_netcdf(tmp_path / "a.nc")
    assert opened(tmp_path / "a.nc", dimensions={"z": "level"}).level.attrs["units"] == "Pa"


def test_a_zarr_whose_time_is_an_index_is_dated_by_the_configuration(
    fields: xr.Dataset, tmp_path: Path
) -> None:
    """The unit of such an archive is in a global attribute, or in its documentation only."""
    data = fields.assign_coords(time=np.arange(3)).assign_attrs(time_unit="6 hours from 1979-01-01")
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    found = opened(tmp_path / "a.zarr", time_units="days since 1979-01-01", calendar="noleap")
    time = find_time(found, "t2m")
    assert time is not None
    assert time.attrs["units"] == "days since 1979-01-01"
    assert time.attrs["calendar"] == "noleap"


def test_a_time_dimension_without_a_coordinate_is_dated(fields: xr.Dataset, tmp_path: Path) -> None:
    fields.drop_vars("time").rename(time="step").to_zarr(tmp_path / "a.zarr", zarr_format=2)
    found = opened(
        tmp_path / "a.zarr", dimensions={"step": "time"}, time_units="days since 1979-01-01"
    )
    time = find_time(found, "t2m")
    assert time is not None
    dates = time.values.astype(int)
    assert dates.tolist() == [0, 1, 2]
    assert time.attrs["units"] == "days since 1979-01-01"


def test_dates_follow_from_the_given_units(fields: xr.Dataset, tmp_path: Path) -> None:
    from configs.time.step import TimeStep

    fields.drop_vars("time").to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc", time_units="days since 1979-03-01")
    time = find_time(found, "t2m")
    assert time is not None
    dates, _ = valid_times(found, time, TimeStep.parse("1d"))
    assert dates.astype("M8[D]").astype(str).tolist() == ["1979-03-01", "1979-03-02", "1979-03-03"]


def test_units_that_are_given_replace_those_of_the_file(fields: xr.Dataset, tmp_path: Path) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc", time_units="days since 1979-01-01")
    assert found.time.attrs["units"] == "days since 1979-01-01"


def test_a_file_without_the_named_dimension_is_left_as_it_is(
    fields: xr.Dataset, tmp_path: Path
) -> None:
    fields.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_equal(opened(tmp_path / "a.nc", dimensions={"rows": "latitude"}), fields)


def test_two_dimensions_of_one_kind_are_refused(fields: xr.Dataset, tmp_path: Path) -> None:
    fields.expand_dims(z=[1.0], h=[2.0]).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        ValueError, match=r"data.dimensions.z=level, but the file also has h as lev"
    ):
        opened(tmp_path / "a.nc", dimensions={"z": "level", "h": "level"})
    with pytest.raises(ValueError, match="data.dimensions.z=latitude, but the file also has latit"):
        opened(tmp_path / "a.nc", dimensions={"z": "latitude"})


def test_a_described_source_is_closed_with_the_others(fields: xr.Dataset, tmp_path: Path) -> None:
    fields.rename(latitude="y").to_netcdf(tmp_path / "a.nc")
    config = FilesData(variables=("t2m",), dimensions={"y": "latitude"})
    with Sources([tmp_path / "a.nc"], config) as sources:
        sources[tmp_path / "a.nc"][0].t2m.load()
        assert count_open([tmp_path / "a.nc"]) == 1
    assert count_open([tmp_path / "a.nc"]) == 0
