"""Ingestion of real files of archives: correct values, or a refusal in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.load import load_config
from configs.schema import FilesData
from data_prep.ingest.run import ingest

pytestmark = pytest.mark.data
SFC = [f"climate/eraint_sfc_monthly_2017{part}.nc" for part in "cab"]
LEVELS = "reanalysis/era_tz_500_850_1deg_2007-01-01T12"


@pytest.fixture
def make(data_folder: Path, tmp_path: Path) -> Callable[..., xr.Dataset]:
    """Ingest real files by their names."""

    def ingested(names: list[str] | str, **config: object) -> xr.Dataset:
        names = [names] if isinstance(names, str) else names
        if any(name.endswith(("grib", "grib2")) for name in names):
            pytest.importorskip("eccodes")
        for name in names:
            if not (data_folder / name).exists():
                pytest.skip(f"{name} is not in {data_folder}")
        path = tmp_path / f"store{len(list(tmp_path.iterdir()))}"
        ingest([data_folder / name for name in names], FilesData(**config), path)
        return xr.open_zarr(path, consolidated=False, chunks=None).load()

    return ingested


def test_sixty_years_of_sea_surface_temperature(make: Callable[..., xr.Dataset]) -> None:
    config = load_config("sst").data.model_dump(exclude={"source"})
    store = make("sst/cobe2_sst_monthly_1950-2009_2deg.nc", **config)
    assert dict(store.fields.sizes) == {
        "time": 720, "channel": 1, "latitude": 90, "longitude": 180,
    }  # fmt: skip
    assert store.attrs["grid_kind"] == "cell-centred"
    assert float(store.longitude[0]) == 1.0
    counts = {name: int((store.split == name).sum()) for name in ("train", "validation", "test")}
    assert counts == {"train": 480, "validation": 120, "test": 120}
    assert str(store.channel_units.values[0]) == "degC"
    # Anomaly errors of 2000-2009 against the climatology of 1950-1989 as the data's README has
    # them: climatology 0.61, persistence 0.32 degC at one month.
    month = store.time.dt.month.values - 1
    anomaly = store.fields.values[:, 0] - store.climatology.values[month, 0]
    test = np.flatnonzero(store.split == "test")
    weights = np.where(store.mask[0], np.cos(np.radians(store.latitude.values))[:, None], 0.0)

    def rmse(error: np.ndarray) -> float:
        return float(np.sqrt(np.average(np.nan_to_num(error**2).mean(axis=0), weights=weights)))

    assert rmse(anomaly[test]) == pytest.approx(0.61, abs=0.01)
    assert rmse(anomaly[test[1:]] - anomaly[test[:-1]]) == pytest.approx(0.32, abs=0.01)


def test_monthly_surface_fields_of_three_packed_files(make: Callable[..., xr.Dataset]) -> None:
    store = make(SFC, variables=("sp", "t2m", "tp", "u10", "v10"), time_step="1mo")
    assert store.time.dt.strftime("%Y-%m").values.tolist() == ["2017-02", "2017-03", "2017-04"]
    area = np.cos(np.radians(store.latitude.values))
    mean = np.average(store.fields.mean(("time", "longitude")), axis=1, weights=area)
    np.testing.assert_allclose(mean[:2], [98560, 287], rtol=5e-3)
    assert 50 < mean[2] * 1e3 * 365 < 1500  # monthly mean of daily sums, mm a year
    assert (np.abs(mean[3:]) < 1).all()


def test_static_fields_of_other_grids(make: Callable[..., xr.Dataset]) -> None:
    static = ["static/ecmwf_orography_tq682.nc", "static/land_sea_mask_0p1deg.nc"]
    options = {
        "variables": ("t2m",), "time_step": "1mo", "static": ("orography", "land_fraction"),
        "grid": {"kind": "legendre-gauss", "nlat": 64, "nlon": 128},
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"reaches \d{3} m after .* data.units.orog=m"):
        make([*SFC, *static], **options)
    store = make([*SFC, *static], **options, units={"orog": "m"})
    height, land = store.static.values
    tibet = store.static[0].sel(latitude=33, longitude=88, method="nearest")
    assert 4000 < float(tibet) < 5500
    area = np.cos(np.radians(store.latitude.values))
    assert np.average(land.mean(axis=1), weights=area) == pytest.approx(0.29, abs=0.06)
    assert -500 < height.min() < 100


def test_one_state_on_a_gaussian_grid_with_columns_first(make: Callable[..., xr.Dataset]) -> None:
    store = make(
        "reanalysis/era5_tl31_37lev_1959-01-02T00.nc",
        variables=("z500", "t850", "u200", "q850", "sst"),
    )
    assert store.attrs["grid_kind"] == "legendre-gauss"
    z, t, u, q, sst = store.fields.values[0]
    north, tropics = slice(0, 5), slice(13, 19)
    assert 49000 < z[north].mean() < 52500 and 57000 < z[tropics].mean() < 58000
    assert t[tropics].mean() > 285 and 0 < q.min() < q.max() < 0.03
    assert u.max() > 40 and -3 < sst.min() < sst.max() < 35
    assert "mean" not in store  # one time belongs to no split


def test_variables_of_one_file_each(make: Callable[..., xr.Dataset]) -> None:
    files = [f"reanalysis/eraint_{c}_37lev_1p5deg_2005-01-23T00.nc" for c in "uv"]
    store = make(files, variables=("v1000", "u200"))
    assert store.time.values.tolist() == np.array(["2005-01-23"], "M8[ns]").tolist()
    assert store.fields[0, 1].max() > 50 > store.fields[0, 0].max()


def test_grib_netcdf_and_zarr_of_the_same_fields_agree(make: Callable[..., xr.Dataset]) -> None:
    variables = ("t500", "z500", "t850", "z850")
    files = (f"{LEVELS}.nc", f"{LEVELS}.grib", "messy/tz_v2_consolidated.zarr")
    netcdf, grib, zarr = (make(file, variables=variables) for file in files)
    np.testing.assert_array_equal(netcdf.fields, zarr.fields)
    np.testing.assert_array_equal(netcdf.time, grib.time)
    # Half a packing step of the netCDF file: 1.1e-3 K and 0.9 m2 s-2.
    difference = np.abs(netcdf.fields - grib.fields).max(("time", "latitude", "longitude"))
    assert (difference < [2e-3, 1.5, 2e-3, 1.5]).all()


def test_grib_leaves_no_index_beside_the_data(
    make: Callable[..., xr.Dataset], data_folder: Path
) -> None:
    before = sorted(p.name for p in (data_folder / LEVELS).parent.iterdir())
    make(f"{LEVELS}.grib", variables=("t500",))
    assert sorted(p.name for p in (data_folder / LEVELS).parent.iterdir()) == before


def test_noleap_months_of_a_climate_model(make: Callable[..., xr.Dataset]) -> None:
    store = make("messy/cmip6_tas_CanESM5_1870-1874.nc", variables=("t2m",), time_step="1mo")
    assert store.sizes["time"] == 60
    assert store.time.dt.strftime("%Y-%m-%d").values[[0, -1]].tolist() == [
        "1870-01-01", "1874-12-01",
    ]  # fmt: skip
    july, january = store.fields[6, 0], store.fields[0, 0]
    assert float((july - january).sel(latitude=slice(80, 40)).mean()) > 15


def test_a_member_of_an_ensemble(make: Callable[..., xr.Dataset]) -> None:
    options = {"variables": ("z500", "t850"), "time_step": "12h"}
    first = make("messy/era5-levels-members.grib", **options, select={"number": 0})
    last = make("messy/era5-levels-members.grib", **options, select={"number": 9})
    spread = np.abs(first.fields - last.fields).max()
    assert first.sizes["time"] == 4 and 1 < spread < 3000


def test_forecast_file_that_mixes_forty_kinds_of_levels(
    make: Callable[..., xr.Dataset],
) -> None:
    store = make(
        "messy/gfs_2p5deg_f120.grib2", variables=("z500", "t2m"), static=("land_fraction",)
    )
    assert str(store.time.values[0]).startswith("2011-01-15T12")
    assert 47000 < store.fields[0, 0].min() < store.fields[0, 0].max() < 59500
    assert 210 < store.fields[0, 1].min() < store.fields[0, 1].max() < 325
    assert 0.2 < store.static.mean() < 0.5


def test_a_global_file_without_its_last_row_is_regridded(
    make: Callable[..., xr.Dataset],
) -> None:
    file = "reanalysis/gfs_analysis_10m_wind_6h_20161120.nc"
    with pytest.raises(ValueError, match=r"180 rows .* data.grid can bring them onto one"):
        make(file, variables=("u10",))
    grid = {"kind": "equiangular", "nlat": 91, "nlon": 180}
    store = make(file, variables=("u10", "v10"), grid=grid)
    assert store.sizes["time"] == 9
    assert np.isfinite(store.fields).all() and 15 < store.fields.max() < 30


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("messy/reduced_gg.grib", {"variables": ("u10",)}, "reduced Gaussian; make it regular"),
        ("messy/spherical_harmonics.grib", {"variables": ("z500",)}, "cdo sp2gp"),
        ("messy/alternate-scanning.grib", {"variables": ("t2m",)}, "once round the sphere"),
        ("messy/era5_t2m_hourly_2019-03_uk.grib", {"variables": ("t2m",)}, "once round"),
        ("messy/era5-levels-members.grib", {"variables": ("t850",)}, "data.select.number=0"),
        ("messy/gfs_2p5deg_f120.grib2", {"variables": ("sst",)}, "hPa); acpcp;"),
        ("messy/scanning_mode_64.grib", {"variables": ("t2m",)}, "they have skt"),
        ("messy/fields_with_missing_values.grib", {"variables": ("t2m",), "time_step": "12h"},
         "10808 missing values"),
        ("messy/coads_climatology.nc", {"variables": ("sst",)}, "cannot be read as dates"),
        ("messy/ncep_hgt500_21months.nc", {"variables": ("z500",)}, "they have HGT"),
        (
            "messy/ncep_hgt500_21months.nc",
            {"variables": ("z500",), "rename": {"HGT": "z500"}, "time_step": "1mo"},
            "a gap: 1958-02-01 is followed by 1959-02-01",
        ),
        ("messy/cmip6_tas_CanESM5_1870-1874.nc", {"variables": ("t2m",)},
         "the times of the files are 1mo apart; set data.time_step=1mo"),
        ("reanalysis/eraint_uvz_jan_jul_climatology_0p75deg.nc", {"variables": ("z500",)},
         "no valid times"),
        ("climate/ncep1_slp_monthly_1948-2013_eof20.nc", {"variables": ("msl",)},
         "they have mean; pattern; pc"),
        ("static/coastline_110m.npz", {"variables": ("t2m",)}, "neither netCDF nor GRIB nor zarr"),
        ("static/sst_climatology_96x48.nc", {"variables": ("sst",), "time_step": "1mo"},
         "declare data.mask=[sst]"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_sentence(
    file: str,
    options: dict,
    message: str,
    make: Callable[..., xr.Dataset],
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError) as caught:
        make(file, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_land_of_a_climatology_in_kelvin(make: Callable[..., xr.Dataset]) -> None:
    store = make(
        "static/sst_climatology_96x48.nc", variables=("sst",), mask=("sst",), time_step="1mo"
    )
    assert int((store.mask == 0).sum()) == 1106
    tropics = store.fields.sel(latitude=slice(20, -20))
    assert 15 < tropics.min() < tropics.max() < 35
