"""Refusal of wrong input: one sentence, and no partial output."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.schema import FilesData
from data_prep.ingest.run import ingest
from sphere_ops.grid import Grid

GRID = Grid.equiangular(7, 12)
T2M = FilesData(variables=("t2m",))
Gridded = Callable[..., xr.Dataset]
Save = Callable[..., Path]
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Ingest, and return the one line of the refusal."""

    def refuse(paths: list[Path], config: FilesData = T2M) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises((ValueError, OSError)) as caught:
            ingest(paths, config, tmp_path / "store")
        assert sorted(tmp_path.iterdir()) == before
        text = str(caught.value)
        assert "\n" not in text and len(text) < 500
        return text

    return refuse


def test_missing_file(refused: Refused, tmp_path: Path) -> None:
    assert "nothing.nc does not exist; check the path" in refused([tmp_path / "nothing.nc"])


def test_file_of_another_format(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "notes.nc").write_text("latitude,longitude\n")
    (tmp_path / "folder").mkdir()
    assert "neither netCDF nor GRIB nor zarr" in refused([tmp_path / "notes.nc"])
    assert "is a folder and no zarr group" in refused([tmp_path / "folder"])


@pytest.mark.parametrize("start", [b"CDF\x01", b"\x89HDF\r\n\x1a\n", b"GRIB"])
def test_damaged_file(start: bytes, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "half.nc").write_bytes(start + b"\x00\x01\x02" * 50)
    assert "half.nc cannot be read" in refused([tmp_path / "half.nc"])


@pytest.mark.parametrize("layout", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
def test_file_that_was_cut_off(layout: str, refused: Refused, gridded: Gridded, save: Save) -> None:
    path = save(gridded(GRID), format=layout, unlimited_dims=["time"])
    os.truncate(path, path.stat().st_size // 2)
    assert "damaged or incomplete, fetch it again" in refused([path])


def test_output_that_exists_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(FileExistsError, match="exists; remove it or choose another path"):
        ingest([tmp_path / "nothing.nc"], T2M, tmp_path / "store")


def test_variable_that_is_not_there_is_told_what_is(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    data = gridded(GRID, units="Pa", sp=1e5, msl=1e5)
    text = refused([save(data)])
    assert "t2m (Temperature at 2 m) is not in the files; they have msl; sp" in text
    assert "data.rename.NAME=t2m" in text


def test_files_without_fields_are_said_to_have_none(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    series = gridded(GRID, t=250.0).t.mean(("latitude", "longitude")).to_dataset(name="t")
    assert "no variable on latitude and longitude" in refused([save(series)])


def test_level_that_is_not_there_is_told_which_are(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    data = (
        gridded(GRID, t=250.0)
        .expand_dims(level=[850.0, 1000.0])
        .assign_coords(level=("level", [850, 1000], {"units": "millibars"}))
    )
    text = refused([save(data)], FilesData(variables=("t500",)))
    assert "t500 (t at 500 hPa) is not in the files; they have t (at 850, 1000 hPa)" in text


def test_two_variables_that_could_be_meant(refused: Refused, gridded: Gridded, save: Save) -> None:
    data = gridded(GRID, tas=280.0, T2M=281.0)
    assert "t2m could be any of tas, T2M; say which" in refused([save(data)])


def test_regional_grid(refused: Refused, gridded: Gridded, save: Save) -> None:
    region = gridded(Grid.equiangular(91, 180)).isel(latitude=slice(10, 30), longitude=slice(0, 40))
    assert "do not go once round the sphere" in refused([save(region)])
    band = gridded(Grid.equiangular(91, 180)).isel(latitude=slice(10, 80))
    assert "regional" in refused([save(band, "band.nc")])


def test_near_global_grid_is_told_the_way_out(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    data = gridded(Grid.equiangular(91, 180)).isel(latitude=slice(0, 90))
    assert "data.grid can bring them onto one" in refused([save(data)])


def test_curvilinear_grid(refused: Refused, save: Save) -> None:
    data = xr.Dataset(
        {"t2m": (("time", "y", "x"), np.ones((1, 4, 5)), {"units": "K"})},
        {
            "lat": (("y", "x"), np.ones((4, 5)), {"standard_name": "latitude"}),
            "time": np.array(["2000-01-01"], dtype="M8[ns]"),
        },
    )
    assert "curvilinear" in refused([save(data)])


def test_two_grids(refused: Refused, gridded: Gridded, save: Save) -> None:
    paths = [
        save(gridded(GRID).isel(time=slice(0, 4))),
        save(gridded(Grid.cell_centred(7, 12)).isel(time=slice(4, 8)), "other.nc"),
    ]
    assert "set data.grid to bring them onto one grid" in refused(paths)


def test_gap_in_time(refused: Refused, gridded: Gridded, save: Save) -> None:
    text = refused([save(gridded(GRID).isel(time=[0, 1, 2, 4, 5]))])
    assert "gap: 2001-01-01T12:00:00 is followed by 2001-01-02, expected 2001-01-01T18" in text


def test_duplicate_time_names_both_files(refused: Refused, gridded: Gridded, save: Save) -> None:
    paths = [save(gridded(GRID), "a.nc"), save(gridded(GRID).isel(time=[7]), "b.nc")]
    text = refused(paths)
    assert "t2m occurs twice at 2001-01-02T18:00:00" in text
    assert "a.nc" in text and "b.nc" in text


def test_a_day_of_two_months_is_a_duplicate_month(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    stamps = np.array(["2001-01-01", "2001-01-31"], dtype="M8[ns]")
    config = FilesData(variables=("t2m",), time_step="1mo")
    assert "twice at 2001-01-01" in refused([save(gridded(GRID, stamps))], config)


def test_variables_of_different_times(refused: Refused, gridded: Gridded, save: Save) -> None:
    paths = [
        save(gridded(GRID)),
        save(gridded(GRID, units="m s-1", u10=0.0).isel(time=slice(0, 6)), "u.nc"),
    ]
    text = refused(paths, FilesData(variables=("t2m", "u10")))
    assert "u10 has no field at 2001-01-02T12:00:00 where t2m has one" in text


@pytest.mark.parametrize("mask", [(), ("t2m",)])
def test_missing_values_without_a_constant_mask(
    mask: tuple[str, ...], refused: Refused, gridded: Gridded, save: Save
) -> None:
    data = gridded(GRID)
    data["t2m"][5, 2, 3:5] = np.nan
    text = refused([save(data)], FilesData(variables=("t2m",), mask=mask))
    assert "t2m at 2001-01-02T06:00:00 in" in text
    assert "2 missing values" in text
    assert "data.mask=[t2m]" in text


def test_mask_that_changes(refused: Refused, gridded: Gridded, save: Save) -> None:
    data = gridded(GRID)
    data["t2m"][:, 2, 3:6] = np.nan
    data["t2m"][4, 2, 3] = 280.0
    text = refused([save(data)], FilesData(variables=("t2m",), mask=("t2m",)))
    assert "t2m at 2001-01-02T00:00:00 in" in text
    assert "missing at other points than at the first time (1 of them)" in text


def test_missing_value_in_another_channel_than_the_masked_one(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    data = gridded(GRID, t2m=280.0, sst=290.0)
    data["sst"][:, 0, 0] = np.nan
    data["t2m"][:, 0, 0] = np.nan
    config = FilesData(variables=("t2m", "sst"), mask=("sst",))
    assert "declare data.mask=[t2m]" in refused([save(data)], config)


def test_units_that_measure_something_else(refused: Refused, gridded: Gridded, save: Save) -> None:
    data = gridded(GRID, units="m s-1")
    text = refused([save(data)])
    assert "variable t2m: units 'm s-1' cannot be converted to 'K'" in text
    assert "data.units.t2m" in text


def test_units_that_are_not_there(
    refused: Refused, gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    data = gridded(GRID)
    del data["t2m"].attrs["units"]
    assert "it has no units; give them with data.units.t2m='K'" in refused([save(data)])
    given = FilesData(variables=("t2m",), units={"t2m": "K"})
    assert ingest([tmp_path / "in.nc"], given, tmp_path / "store").exists()


def test_members_and_no_choice(refused: Refused, gridded: Gridded, save: Save) -> None:
    members = gridded(GRID).expand_dims(number=[0, 1, 2])
    assert "3 values along number; keep one with data.select.number=0" in refused([save(members)])
    other = FilesData(variables=("t2m",), select={"number": 9})
    assert "data.select.number=9 is not among its values 0, 1, 2" in refused(
        [save(members, "b.nc")], other
    )


def test_file_without_times(refused: Refused, gridded: Gridded, save: Save) -> None:
    data = gridded(GRID).isel(time=slice(0, 2)).drop_vars("time").rename(time="month")
    assert "no valid times (its dimensions are month, latitude" in refused([save(data)])


def test_files_of_two_calendars(refused: Refused, gridded: Gridded, save: Save) -> None:
    paths = []
    for calendar, first in (("noleap", 0), ("360_day", 48)):
        data = gridded(GRID).drop_vars("time")
        attributes = {"units": "hours since 2001-01-01", "calendar": calendar}
        data = data.assign_coords(time=("time", first + np.arange(8) * 6.0, attributes))
        paths.append(save(data, f"{calendar}.nc"))
    message = refused(paths)
    assert f"{paths[0]} are in the calendar noleap, those of {paths[1]} in the" in message
    assert "calendar 360_day; give files of one calendar" in message


def test_calendar_that_is_not_supported(refused: Refused, gridded: Gridded, save: Save) -> None:
    data = gridded(GRID).drop_vars("time")
    attributes = {"units": "hours since 2001-01-01", "calendar": "julian"}
    data = data.assign_coords(time=("time", np.arange(8) * 6.0, attributes))
    assert "'julian' is not supported; expected one of standard" in refused([save(data)])


def test_split_without_times_and_overlapping_splits(
    refused: Refused, gridded: Gridded, save: Save
) -> None:
    def config(validation: tuple[str, str]) -> FilesData:
        ranges = {"train": ("2001-01-01", "2001-01-01"), "validation": validation,
                  "test": ("2001-01-02T12", "2001-01-02T18")}  # fmt: skip
        splits = {name: {"first": a, "last": b} for name, (a, b) in ranges.items()}
        return FilesData(variables=("t2m",), splits=splits)

    path = save(gridded(GRID))
    text = refused([path], config(("2010", "2011")))
    assert "data.splits.validation from 2010 to 2011 holds no time of the files" in text
    text = refused([path], config(("2001-01-01T18", "2001-01-02T06")))
    assert "data.splits.validation from 2001-01-01T18 to 2001-01-02T06 overlaps with train" in text
    assert "expected dates such as" in refused([path], config(("soon", "later")))


def test_orography_whose_units_are_wrong(refused: Refused, gridded: Gridded, save: Save) -> None:
    height = np.linspace(0, 5500, GRID.nlat * GRID.nlon).reshape(GRID.shape)
    data = gridded(GRID).assign(orog=(("latitude", "longitude"), height, {"units": "m**2 s**-2"}))
    text = refused([save(data)], FilesData(variables=("t2m",), static=("orography",)))
    assert "orog reaches 561 m after its units were converted" in text
    assert "data.units.orog=m" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": ("orography",)}, "name it in data.static instead"),
        ({"variables": ("insolation",)}, "name it in model.forcing instead"),
        ({"variables": ("t2m",), "static": ("sin_latitude",)}, "not a static field of files"),
        ({"variables": ("t2m",), "mask": ("sst",)}, "data.mask names sst"),
        ({"variables": ("t2m", "t2m")}, "names one twice"),
    ],
)
def test_channel_in_the_wrong_place(
    options: dict, message: str, refused: Refused, gridded: Gridded, save: Save
) -> None:
    assert message in refused([save(gridded(GRID))], FilesData(**options))
