"""GRIB files: values and coordinates against cfgrib and eccodes, threads, damaged files."""

import itertools
import os
import sqlite3  # noqa: F401
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from data_prep.ingest.sources import Sources
from tests.data_prep.ingest.sources.samples import LATITUDE, LONGITUDE, field, grib_message

MakeGrib = Callable[..., Path]
eccodes = pytest.importorskip("eccodes")
T2M = {"shortName": "2t"}
PRESSURE = {"shortName": "t", "typeOfLevel": "isobaricInhPa"}


def opened(path: Path) -> list[xr.Dataset]:
    with Sources([path]) as sources:
        return [dataset.load() for dataset in sources[path]]


def only(path: Path) -> xr.DataArray:
    (dataset,) = opened(path)
    (name,) = dataset.data_vars
    return dataset[name]


@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("flags", list(itertools.product((0, 1), repeat=4)))
def test_a_field_is_the_same_in_every_order_of_its_values(
    edition: int, flags: tuple[int, int, int, int], make_grib: MakeGrib
) -> None:
    """Write by the flags of the GRIB manual; cfgrib reads only some of these orders correctly."""
    westward, northward, columns_first, alternating = flags
    if edition == 1 and alternating:
        pytest.skip("GRIB 1 has no such order")
    rows, columns = slice(None, None, 1 - 2 * northward), slice(None, None, 1 - 2 * westward)
    values = field(3)[rows, columns]
    stored = (values.T if columns_first else values).copy()
    if alternating:
        stored[1::2] = stored[1::2, ::-1].copy()
    latitude, longitude = LATITUDE[rows], LONGITUDE[columns]
    keys = {
        "iScansNegatively": westward, "jScansPositively": northward,
        "jPointsAreConsecutive": columns_first, "values": stored,
        "latitudeOfFirstGridPointInDegrees": latitude[0],
        "latitudeOfLastGridPointInDegrees": latitude[-1],
        "longitudeOfFirstGridPointInDegrees": longitude[0],
        "longitudeOfLastGridPointInDegrees": longitude[-1],
    }  # fmt: skip
    if edition == 2:
        keys["alternativeRowScanning"] = alternating
    array = only(make_grib([T2M | keys], edition=edition))
    np.testing.assert_array_equal(array.latitude, latitude)
    np.testing.assert_array_equal(array.longitude, longitude)
    np.testing.assert_allclose(array, values, atol=1e-6)


def test_fields_of_members_times_steps_and_levels_form_one_array(make_grib: MakeGrib) -> None:
    axes = {
        "perturbationNumber": [0, 1, 2], "dataDate": [20010101, 20010102],
        "endStep": [0, 6], "level": [500, 850, 1000],
    }  # fmt: skip
    combinations = list(itertools.product(*axes.values()))
    order = np.random.default_rng(1).permutation(len(combinations))
    template = PRESSURE | {"productDefinitionTemplateNumber": 1, "numberOfForecastsInEnsemble": 3}
    messages = [template | dict(zip(axes, combinations[k], strict=True)) | {"k": k} for k in order]
    array = only(make_grib(messages))
    assert array.dims == ("number", "time", "step", "isobaricInhPa", "latitude", "longitude")
    assert array.isobaricInhPa.values.tolist() == [1000, 850, 500]
    assert array.step.values.tolist() == [0, 6]
    assert array.valid_time.dims == ("time", "step")
    hours = np.array([[0, 6], [24, 30]]) * 3600 + 978307200
    np.testing.assert_array_equal(array.valid_time, hours)
    for k, (number, date, step, level) in enumerate(combinations):
        time = 978307200 + (date - 20010101) * 86400
        one = array.sel(number=number, time=time, step=step, isobaricInhPa=level)
        np.testing.assert_allclose(one, field(k), atol=1e-5)


def test_levels_in_hpa_and_pa_are_one_coordinate_in_hpa(make_grib: MakeGrib) -> None:
    surface = {"typeOfFirstFixedSurface": 100, "scaleFactorOfFirstFixedSurface": 0}
    levels = [{"scaledValueOfFirstFixedSurface": pa} for pa in (50, 100000, 3050)]
    array = only(make_grib([{"shortName": "t"} | surface | level for level in levels]))
    assert array.isobaricInhPa.values.tolist() == [1000, 30.5, 0.5]
    assert array.isobaricInhPa.attrs["units"] == "hPa"
    np.testing.assert_allclose(array.sel(isobaricInhPa=0.5), field(0), atol=1e-6)


def test_variables_on_different_levels_and_steps_open_together(make_grib: MakeGrib) -> None:
    messages = [
        T2M,
        {"shortName": "tp", "stepType": "accum", "startStep": 0, "endStep": 6},
        {"shortName": "tp", "stepType": "accum", "startStep": 6, "endStep": 12},
        *(PRESSURE | {"level": level} for level in (500, 850)),
        *({"shortName": "z", "level": 500, "endStep": step} for step in (0, 12, 24)),
    ]
    found = {str(name): ds for ds in opened(make_grib(messages)) for name in ds.data_vars}
    assert set(found) == {"t2m", "tp", "t", "z"}
    assert found["tp"].tp.sizes == {"step": 2, "latitude": 5, "longitude": 8}
    assert found["tp"].step_start.values.tolist() == [0, 6]
    assert found["tp"].tp.attrs["accumulation"] == "6h"
    assert found["z"].z.sizes["step"] == 3


@pytest.mark.parametrize(
    ("intervals", "accumulation"),
    [([(0, 1), (1, 2)], "1h"), ([(0, 6), (0, 12)], "forecast"), ([(0, 6), (6, 9)], None)],
)
def test_the_interval_of_an_accumulation_is_an_attribute(
    intervals: list[tuple[int, int]], accumulation: str | None, make_grib: MakeGrib
) -> None:
    tp = {"shortName": "tp", "stepType": "accum"}
    array = only(make_grib([tp | {"startStep": a, "endStep": b} for a, b in intervals]))
    assert array.attrs.get("accumulation") == accumulation
    assert array.attrs["GRIB_stepType"] == "accum"


def test_two_accumulations_that_end_together_are_two_arrays(make_grib: MakeGrib) -> None:
    tp = {"shortName": "tp", "stepType": "accum"}
    steps = [(0, 6), (6, 12), (0, 12)]
    found = opened(make_grib([tp | {"startStep": a, "endStep": b} for a, b in steps]))
    assert sorted(ds.tp.sizes.get("step", 1) for ds in found) == [1, 2]


def test_steps_may_be_fractions_of_an_hour(make_grib: MakeGrib) -> None:
    steps = [{"indicatorOfUnitOfTimeRange": 0, "forecastTime": minutes} for minutes in (15, 30)]
    array = only(make_grib([T2M | step for step in steps]))
    assert array.step.values.tolist() == [0.25, 0.5]
    assert array.valid_time.values.tolist() == [978307200 + 900, 978307200 + 1800]


def test_missing_values_are_nan(make_grib: MakeGrib) -> None:
    values = field(1)
    values[2, 3:5] = np.nan
    array = only(make_grib([T2M | {"values": values}]))
    np.testing.assert_allclose(array, values, atol=1e-6)


def test_a_field_of_missing_values_only_is_nan(make_grib: MakeGrib) -> None:
    assert np.isnan(only(make_grib([T2M | {"values": np.full((5, 8), np.nan)}]))).all()


def test_several_fields_in_one_message_are_all_read(tmp_path: Path) -> None:
    """The two wind components of a message share its date; the second has its own section 4."""
    first = grib_message(eccodes, {"edition": 2, "shortName": "10u"}, 1)
    second = grib_message(eccodes, {"edition": 2, "shortName": "10v"}, 2)
    end = len(second) - 4
    start = second.index((34).to_bytes(4, "big") + b"\x04")  # section 4 has 34 bytes
    both = first[:-4] + second[start:end] + b"7777"
    both = both[:8] + len(both).to_bytes(8, "big") + both[16:]
    last = grib_message(eccodes, {"edition": 2, "shortName": "2t"}, 3)
    (tmp_path / "in.grib").write_bytes(both + last)
    found = {str(k): a for ds in opened(tmp_path / "in.grib") for k, a in ds.data_vars.items()}
    assert set(found) == {"u10", "v10", "t2m"}
    for k, name in enumerate(("u10", "v10", "t2m"), start=1):
        np.testing.assert_allclose(found[name], field(k), atol=1e-6)


@pytest.mark.parametrize("edition", [1, 2])
def test_messages_of_more_than_8_mb_and_bytes_between_messages_are_read(
    edition: int, tmp_path: Path
) -> None:
    """GRIB 1 has 23 bits for the length, and counts 120 bytes at a time beyond."""
    values = np.arange(1201 * 2400, dtype=float).reshape(1201, 2400)
    keys = {
        "Ni": 2400, "Nj": 1201, "iDirectionIncrementInDegrees": 0.15, "values": values,
        "jDirectionIncrementInDegrees": 0.15, "longitudeOfLastGridPointInDegrees": 359.85,
    }  # fmt: skip
    large = grib_message(eccodes, T2M | {"edition": edition} | keys, 0)
    small = grib_message(eccodes, T2M | {"edition": edition, "endStep": 6}, 1)
    assert len(large) > 2**23
    (tmp_path / "in.grib").write_bytes(large + b"\r\r\n between" + small + bytes(100))
    first, second = (dataset.t2m for dataset in opened(tmp_path / "in.grib"))
    np.testing.assert_allclose(first, values, rtol=1e-6, atol=1)
    np.testing.assert_allclose(second, field(1), atol=1e-6)


def test_dates_and_steps_of_messages_with_equal_headers_are_their_own(make_grib: MakeGrib) -> None:
    """The names of such messages are looked up once."""
    dates = [(19991231, 2345), (20000101, 0), (20000229, 1200), (20120101, 630)]
    for edition in (1, 2):
        keys = [T2M | {"dataDate": date, "dataTime": time} for date, time in dates]
        array = only(make_grib(keys, edition=edition))
        found = array.time.values.astype("M8[s]").astype("M8[m]").astype(str).tolist()
        assert found == [
            "1999-12-31T23:45", "2000-01-01T00:00", "2000-02-29T12:00", "2012-01-01T06:30",
        ]  # fmt: skip
        np.testing.assert_allclose(array[2], field(2), atol=1e-6)


def test_parts_of_an_array_are_those_of_the_whole(make_grib: MakeGrib) -> None:
    path = make_grib([PRESSURE | {"level": 100 * k, "k": k} for k in range(1, 7)])
    with Sources([path]) as sources:
        (dataset,) = sources[path]
        whole = dataset.t.values
        for key in (
            {"isobaricInhPa": 2, "latitude": slice(1, 4)},
            {"isobaricInhPa": [4, 0, 1], "longitude": [3, 3, 0]},
            {"isobaricInhPa": slice(None, None, -2), "longitude": slice(5, 1, -1)},
            {"isobaricInhPa": slice(0, 0)},
            {"isobaricInhPa": slice(1, 3), "latitude": 4, "longitude": 7},
        ):
            expected = xr.DataArray(whole, dims=dataset.t.dims).isel(key)
            np.testing.assert_array_equal(dataset.t.isel(key), expected)


def test_reading_decodes_nothing_but_the_fields_that_are_asked_for(
    make_grib: MakeGrib, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_prep.ingest.sources.grib import datasets

    path = make_grib([PRESSURE | {"level": 100 * k, "k": k} for k in range(1, 7)])
    decoded = []
    decode = datasets.decode
    monkeypatch.setattr(datasets, "decode", lambda *a: decoded.append(1) or decode(*a))
    with Sources([path]) as sources:
        (dataset,) = sources[path]
        assert not decoded
        dataset.t.sel(isobaricInhPa=[200, 500]).values  # noqa: B018
    assert len(decoded) == 2


def test_threads_read_what_one_thread_reads(make_grib: MakeGrib) -> None:
    path = make_grib([PRESSURE | {"level": 10 * k, "k": k} for k in range(1, 41)])
    with Sources([path]) as sources:
        (dataset,) = sources[path]
        levels = np.random.default_rng(0).choice(dataset.isobaricInhPa.values, 400)

        def read(level: float) -> np.ndarray:
            return sources[path][0].t.sel(isobaricInhPa=level).values

        with ThreadPoolExecutor(8) as pool:
            for level, values in zip(levels, pool.map(read, levels), strict=True):
                np.testing.assert_allclose(values, field(level / 10), atol=1e-5)
    assert sources.opens[str(path)] == 1


def test_a_truncated_file_is_refused(make_grib: MakeGrib) -> None:
    path = make_grib([T2M, T2M | {"endStep": 6}])
    os.truncate(path, path.stat().st_size - 30)
    with Sources([path]) as sources, pytest.raises(ValueError, match="may be damaged or incompl"):
        sources[path]


def test_a_file_that_is_cut_after_it_was_opened_is_an_error_of_reading(
    make_grib: MakeGrib,
) -> None:
    path = make_grib([T2M, T2M | {"endStep": 6}])
    with Sources([path]) as sources:
        (dataset,) = sources[path]
        os.truncate(path, path.stat().st_size - 30)
        with pytest.raises(EOFError, match="it ends at byte"):
            dataset.t2m.values  # noqa: B018


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"gridType": "reduced_gg"}, "reduced_gg"),
        ({"gridType": "sh"}, "sh"),
        ({"gridType": "polar_stereographic"}, "polar_stereographic"),
    ],
)
def test_other_grids_open_and_name_their_type(keys: dict, kind: str, tmp_path: Path) -> None:
    sample = {"reduced_gg": "reduced_gg_sfc_grib2", "sh": "sh_pl_grib2"}.get(
        kind, "polar_stereographic_sfc_grib2"
    )
    handle = eccodes.codes_grib_new_from_samples(sample)
    (tmp_path / "in.grib").write_bytes(eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    array = only(tmp_path / "in.grib")
    assert array.attrs["GRIB_gridType"] == kind
    assert "latitude" not in array.dims


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        "messy/alternate-scanning.grib", "messy/ecmwf_tz1000_steps_5deg.grib",
        "messy/era5-levels-members.grib", "messy/era5-single-level-scalar-time.grib",
        "messy/era5_t2m_hourly_2019-03_uk.grib", "messy/fields_with_missing_values.grib",
        "messy/hpa_and_pa.grib", "messy/reduced_gg.grib",
        "messy/regular_gg_pl.grib", "messy/regular_gg_sfc.grib", "messy/scanning_mode_64.grib",
        "messy/spherical_harmonics.grib", "messy/t_analysis_and_fc_0.grib",
        "reanalysis/era_tz_500_850_1deg_2007-01-01T12.grib",
    ],
)  # fmt: skip
def test_every_value_that_cfgrib_reads_from_a_real_file_is_read(
    name: str, data_folder: Path
) -> None:
    cfgrib = pytest.importorskip("cfgrib")
    expected = cfgrib.open_datasets(
        str(data_folder / name), backend_kwargs={"indexpath": ""}, decode_times=False
    )
    fields: dict[tuple[Any, ...], list[bytes]] = {}
    for dataset in opened(data_folder / name):
        for array in dataset.data_vars.values():
            for key, values in _fields(array):
                fields.setdefault(key, []).append(values)
    compared = 0
    for dataset in expected:
        for array in dataset.load().data_vars.values():
            for key, values in _fields(array):
                assert values in fields[key], key
                compared += 1
    assert compared >= 1


@pytest.mark.data
def test_every_message_of_a_file_with_forty_kinds_of_levels_is_read(data_folder: Path) -> None:
    path = data_folder / "messy/gfs_2p5deg_f120.grib2"
    read = {
        (key[:3], key[5], values)
        for dataset in opened(path)
        for array in dataset.data_vars.values()
        for key, values in _fields(array)
    }
    messages = 0
    with path.open("rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            names = ("paramId", "typeOfLevel", "stepType")
            key = tuple(eccodes.codes_get(handle, name) for name in names)
            level = eccodes.codes_get(handle, "level", float)
            eccodes.codes_set(handle, "missingValue", 1e36)
            values = eccodes.codes_get_values(handle)
            values = np.where(values == 1e36, np.nan, values).astype(np.float32)
            eccodes.codes_release(handle)
            assert (key, round(level, 6), values.tobytes()) in read
            messages += 1
    assert messages == 307


def _fields(array: xr.DataArray) -> list[tuple[tuple[Any, ...], bytes]]:
    """Return parameter, place, grid and values of each field of an array."""
    attrs, kind = array.attrs, array.attrs["GRIB_typeOfLevel"]
    horizontal = [d for d in ("latitude", "longitude", "values", "y", "x") if d in array.dims]
    leading = {str(d): n for d, n in array.sizes.items() if d not in horizontal}
    axes = (array[d].values for d in ("latitude", "longitude") if d in horizontal)
    grid = [np.round(axis, 9).tobytes() for axis in axes]
    places = [
        np.broadcast_to(_along(array, name, leading), tuple(leading.values())).ravel()
        for name in (kind, "time", "step", "valid_time", "number")
    ]
    level = places[0] / (100 if kind == "isobaricInPa" else 1)
    values = array.values.reshape(len(level), -1)
    fixed = (attrs["GRIB_paramId"], kind.replace("InPa", "InhPa"), attrs["GRIB_stepType"], *grid)
    return [
        ((*fixed, *place), one.tobytes())
        for *place, one in zip(np.round(level, 6), *places[1:], values, strict=True)
    ]


def _along(array: xr.DataArray, name: str, leading: dict[str, int]) -> np.ndarray:
    """Return a coordinate with a dimension of length 1 for each that it lacks; 0 if absent."""
    if name not in array.coords:
        return np.zeros([1] * len(leading))
    coordinate = array.coords[name]
    shape = [n if d in coordinate.dims else 1 for d, n in leading.items()]
    return coordinate.transpose(*(d for d in leading if d in coordinate.dims)).values.reshape(shape)
