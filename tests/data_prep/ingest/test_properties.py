"""Properties of the ingestion: the store is the truth, in whatever way the files hold it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from configs.schema import FilesData
from data_prep.ingest.run import ingest
from sphere_ops.grid import Grid
from tests.data_prep.ingest.archives import truth

HOUR = np.timedelta64(1, "h")
START = np.datetime64("2019-12-30T00", "h")
SINGLE = 3e-7  # relative error of single precision and one conversion of units

examples = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
grids = st.builds(
    Grid.of,
    st.sampled_from(["equiangular", "cell-centred", "legendre-gauss"]),
    st.integers(5, 9),
    st.sampled_from([8, 10, 12]),
)


def dataset(
    grid: Grid, times: NDArray[np.datetime64], names: Sequence[str] = ("t2m",), shift: float = 0.0
) -> xr.Dataset:
    """Return the truth in canonical order.

    Args:
        grid: Grid.
        times: Times.
        names: Variables on a single level.
        shift: Longitude of the first column, degrees, from 0 to the spacing.
    """
    latitude, longitude = grid.latitude.numpy(), grid.longitude.numpy() + shift
    hours = truth.hours_since_origin(times)
    units = {"t2m": "K", "msl": "Pa", "u10": "m s-1"}
    return xr.Dataset(
        {
            name: (
                ("time", "latitude", "longitude"),
                truth.field(name, latitude, longitude, hours).astype("f4"),
                {"units": units[name]},
            )
            for name in names
        },
        {
            "time": times.astype("M8[ns]"),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        },
    )


def stored(parts: Sequence[xr.Dataset], encoding: Any = None, **config: Any) -> xr.Dataset:
    """Write files, ingest them and return the store."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.nc" for number in range(len(parts))]
        for part, path in zip(parts, paths, strict=True):
            part.to_netcdf(path, engine="netcdf4", encoding=encoding)
        store = ingest(paths, FilesData(**config), Path(folder) / "store")
        return xr.open_zarr(store, consolidated=False, chunks=None).load()


def is_the_truth(store: xr.Dataset, name: str, times: NDArray[np.datetime64]) -> None:
    """Compare a channel with the truth on the rows and columns of the store."""
    latitude = store.latitude.values
    assert (np.diff(latitude) < 0).all()
    assert (store.longitude.values >= 0).all() and (store.longitude.values < 360).all()
    np.testing.assert_array_equal(store.time.values.astype("M8[s]"), times.astype("M8[s]"))
    hours = truth.hours_since_origin(times)
    expected = truth.field(name, latitude, store.longitude.values, hours)
    found = store.fields.values[:, store.channel.values.tolist().index(name)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=SINGLE * np.abs(expected).max())


@examples
@given(
    grid=grids,
    south_first=st.booleans(),
    start=st.integers(0, 11),
    negative=st.booleans(),
    shift=st.sampled_from([0.0, 0.5]),
    order=st.permutations(["time", "latitude", "longitude"]),
    names=st.sampled_from([("lat", "lon"), ("latitude", "longitude"), ("y", "x")]),
)
def test_order_of_rows_columns_and_dimensions_changes_nothing(
    grid: Grid,
    south_first: bool,
    start: int,
    negative: bool,
    shift: float,
    order: list[str],
    names: tuple[str, str],
) -> None:
    times = START + 6 * HOUR * np.arange(3)
    data = dataset(grid, times, shift=shift * 360 / grid.nlon)
    if south_first:
        data = data.isel(latitude=slice(None, None, -1))
    data = data.roll(longitude=start % grid.nlon, roll_coords=True)
    longitude = data.longitude.values.copy()
    longitude[: start % grid.nlon] -= 360  # a full turn that ascends from any meridian
    data["longitude"] = ("longitude", longitude + (0 if negative else 360), data.longitude.attrs)
    data = data.transpose(*order).rename(latitude=names[0], longitude=names[1])
    is_the_truth(stored([data], variables=("t2m",)), "t2m", times)


@examples
@given(
    cuts=st.sets(st.integers(1, 11), max_size=4),
    order=st.randoms(use_true_random=False),
    together=st.booleans(),
    backwards=st.booleans(),
)
def test_variables_and_times_may_be_spread_over_files_in_any_way(
    cuts: set[int], order: Any, together: bool, backwards: bool
) -> None:
    times = START + 6 * HOUR * np.arange(12)
    names = ("t2m", "u10", "msl")
    data = dataset(Grid.cell_centred(6, 8), times, names)
    groups = [names] if together else [(name,) for name in names]
    edges = [0, *sorted(cuts), len(times)]
    along = slice(None, None, -1) if backwards else slice(None)
    parts = [
        data[list(group)].isel(time=slice(first, end)).isel(time=along)
        for group in groups
        for first, end in zip(edges, edges[1:], strict=False)
    ]
    order.shuffle(parts)
    store = stored(parts, variables=names)
    for name in names:
        is_the_truth(store, name, times)


@examples
@given(
    dtype=st.sampled_from(["int8", "uint8", "int16", "int32"]),
    sign=st.sampled_from([-1, 1]),
    offset=st.floats(200, 350),
    missing=st.booleans(),
)
def test_packed_values_are_the_truth_to_half_a_step(
    dtype: str, sign: int, offset: float, missing: bool
) -> None:
    times = START + 6 * HOUR * np.arange(3)
    data = dataset(Grid.equiangular(7, 12), times).astype("f8", keep_attrs=True)
    limits = np.iinfo(dtype)
    reach = float(np.abs(data.t2m - offset).max())
    room = limits.max - 1 if limits.min < 0 else limits.max // 2 - 1
    scale = sign * reach / room
    middle = 0 if limits.min < 0 else limits.max // 2 * scale
    fill = limits.min if limits.min < 0 else limits.max
    if missing:
        data["t2m"][:, 2, 3:5] = np.nan
    packing = {
        "dtype": dtype, "scale_factor": scale, "add_offset": offset - middle, "_FillValue": fill,
    }  # fmt: skip
    mask = ("t2m",) if missing else ()
    store = stored([data], {"t2m": packing}, variables=("t2m",), mask=mask)
    tolerance = abs(scale) / 2 + SINGLE * float(np.abs(data.t2m).max())
    np.testing.assert_allclose(store.fields[:, 0], data.t2m, rtol=0, atol=tolerance)


CALENDARS = ["standard", "proleptic_gregorian", "noleap", "365_day", "360_day"]


@examples
@given(
    calendar=st.sampled_from(CALENDARS),
    step=st.sampled_from(["1d", "6h", "12h"]),
    first=st.integers(0, 400),
    unit=st.sampled_from(["days", "hours", "seconds"]),
    reference=st.sampled_from(["1850-01-01", "2000-01-01 12:00:00", "2018-2-1"]),
)
def test_dates_of_any_calendar_and_unit_are_kept(
    calendar: str, step: str, first: int, unit: str, reference: str
) -> None:
    hours_of_step = {"1d": 24, "6h": 6, "12h": 12}[step]
    hours = 24 * first + hours_of_step * np.arange(12)
    origin = cftime.datetime(2019, 2, 1, calendar=calendar)
    units = f"{unit} since {reference}"
    lag = cftime.date2num(origin, f"hours since {reference}", calendar=calendar)
    values = (hours + lag) / {"days": 24, "hours": 1, "seconds": 1 / 3600}[unit]
    data = dataset(Grid.cell_centred(6, 8), START + 6 * HOUR * np.arange(12)).drop_vars("time")
    expected = data.t2m.values
    data = data.assign_coords(time=("time", values, {"units": units, "calendar": calendar}))
    store = stored([data], variables=("t2m",), time_step=step)
    np.testing.assert_allclose(store.fields.values[:, 0], expected, rtol=SINGLE)
    dates = cftime.num2date(values, units, calendar=calendar)
    assert [text(t) for t in store.time.values.tolist()] == [text(t) for t in dates]


def text(time: Any) -> str:
    """Return a date of NumPy (nanoseconds since 1970) or of a calendar to the minute."""
    if isinstance(time, int):
        return str(np.datetime_as_string(np.datetime64(time, "ns"), "m"))
    return str(time.strftime("%Y-%m-%dT%H:%M"))


@examples
@given(
    hours=st.sets(st.sampled_from(range(0, 24, 3)), min_size=1),
    first=st.integers(0, 20),
    count=st.integers(16, 60),
)
def test_chosen_hours_are_those_of_the_files_that_they_name(
    hours: set[int], first: int, count: int
) -> None:
    every = START + 3 * HOUR * np.arange(first, first + count)
    wanted = every[np.isin((every - every.astype("M8[D]")) // HOUR, sorted(hours))]
    steps = np.diff(sorted(hours)).tolist()
    regular = not steps or set(steps) == {24 // len(hours)}
    assume(len(wanted) > 2 and regular and (24 % len(hours) == 0))
    store = stored(
        [dataset(Grid.cell_centred(6, 8), every)],
        variables=("t2m",),
        time_step=f"{24 // len(hours)}h",
        times={"hours": sorted(hours)},
    )
    is_the_truth(store, "t2m", wanted)


@examples
@given(absent=st.sets(st.integers(1, 22), min_size=1, max_size=12))
def test_gaps_are_kept_if_they_are_declared_and_refused_otherwise(absent: set[int]) -> None:
    kept = np.setdiff1d(np.arange(24), sorted(absent))
    times = START + 6 * HOUR * kept
    data = dataset(Grid.cell_centred(6, 8), times)
    with pytest.raises(ValueError, match="gap"):
        stored([data], variables=("t2m",))
    is_the_truth(stored([data], variables=("t2m",), times={"gaps": True}), "t2m", times)


@examples
@given(
    count=st.integers(12, 40),
    period=st.sampled_from([1, 2, 3]),
    step=st.sampled_from([3, 6, 12]),
    rate=st.booleans(),
)
def test_accumulations_become_the_amount_of_each_step(
    count: int, period: int, step: int, rate: bool
) -> None:
    assume(step % period == 0)
    ends = truth.hours_since_origin(START) + period * np.arange(1, count + 1)
    grid = Grid.cell_centred(6, 8)
    latitude, longitude = grid.latitude.numpy(), grid.longitude.numpy()
    rain = truth.precipitation(latitude, longitude, ends - period, ends)
    data = dataset(grid, truth.ORIGIN + ends.astype("m8[h]"), ("t2m",))
    values = rain * 1000 / (3600 * period) if rate else rain
    units = "kg m-2 s-1" if rate else "m"
    data["tp"] = data.t2m.dims, values.astype("f4"), {"units": units}
    every = ends[0] - period + step * np.arange(1, count + 1)
    wanted = every[every <= ends[-1]]
    assume(len(wanted) > 1)
    hours = sorted({int(end) % 24 for end in wanted})
    store = stored(
        [data],
        variables=("t2m", "tp"),
        time_step=f"{step}h",
        times={"hours": hours},
        accumulation={"tp": f"{period}h"},
    )
    np.testing.assert_array_equal(truth.hours_since_origin(store.time.values), wanted)
    expected = truth.precipitation(latitude, longitude, wanted - step, wanted)
    np.testing.assert_allclose(store.fields[:, 1], expected, rtol=1e-6)
