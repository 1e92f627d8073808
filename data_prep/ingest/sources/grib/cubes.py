"""Division of the fields of a GRIB file into arrays without holes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.ingest.sources.grib.index import GribIndex

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cube:
    """Array of fields of one parameter, type of level and grid.

    Attributes:
        parameter: Index of the parameter.
        grid: Index of the grid.
        level_type: Name of the level coordinate.
        dims: Leading dimensions of the array: members, times (with steps, or as records), levels.
        rows: Index of each field, of the shape of `dims`.
        coords: Dimensions and values of the coordinates.
    """

    parameter: int
    grid: int
    level_type: str
    dims: tuple[str, ...]
    rows: Rows
    coords: dict[str, tuple[tuple[str, ...], NDArray[Any]]]


def cubes(index: GribIndex) -> list[Cube]:
    """Divide the fields of an index into arrays without holes.

    The fields of one parameter, type of level and grid form one array if they exist for all
    combinations of member, time, step and level. Otherwise, levels that exist for the same members
    and times are kept together, then members that exist for the same times; times and steps become
    records along the valid time.
    """
    return [
        _cube(index, rows, parameter, level_type)
        for parameter, level_type, group in _parameters(index)
        for unique in _without_duplicates(index, group)
        for rows in _products(index, unique)
    ]


def _parameters(index: GribIndex) -> Iterator[tuple[int, str, Rows]]:
    """Yield parameter, type of level and fields of each parameter, type of level and grid."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, record in enumerate(index.parameters):
        # Levels in Pa and in hPa are one coordinate; packing does not matter.
        level_type = _level_type(record)
        names = ("code", "shortName", "cfVarName", "name", "units", "stepType")
        groups.setdefault((level_type, *(record[key] for key in names)), []).append(number)
    for (level_type, *_), numbers in groups.items():
        of_parameter = np.isin(index.fields["parameter"], numbers)
        for grid in np.unique(index.fields["grid"][of_parameter]):
            rows = np.flatnonzero(of_parameter & (index.fields["grid"] == grid))
            yield numbers[0], level_type, rows


def _level_type(parameter: dict[str, Any]) -> str:
    kind = str(parameter["typeOfLevel"])
    return "isobaricInhPa" if kind == "isobaricInPa" else kind


def _without_duplicates(index: GribIndex, rows: Rows) -> Iterator[Rows]:
    """Divide fields so that no two of a part have the same member, time, step and level."""
    fields = index.fields
    for key in ("data_type", "start"):
        if not _duplicated(_places(index, rows)):
            break
        parts = [rows[fields[key][rows] == value] for value in np.unique(fields[key][rows])]
        if len(parts) > 1:
            for part in parts:
                yield from _without_duplicates(index, part)
            return
    place = _places(index, rows)
    order = np.lexsort((np.arange(len(rows)), place))
    first = np.r_[True, place[order][1:] != place[order][:-1]]
    since = np.arange(len(rows)) - np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    occurrence = np.empty(len(rows), dtype=int)
    occurrence[order] = since
    for k in range(occurrence.max() + 1):
        yield rows[occurrence == k]


def _duplicated(place: NDArray[np.int64]) -> bool:
    return len(np.unique(place)) < len(place)


def _places(index: GribIndex, rows: Rows) -> NDArray[np.int64]:
    """Return one number for each combination of member, time, step and level."""
    return _codes(index.fields["number"][rows], _times(index, rows), _levels(index, rows))


def _products(index: GribIndex, rows: Rows) -> Iterator[Rows]:
    """Divide fields into arrays (member, time and step, level) of indices without holes."""
    times = _times(index, rows)
    numbers = index.fields["number"][rows]
    levels = _levels(index, rows)
    for some_levels in _alike(levels, _codes(numbers, times)):
        for some in _alike(numbers[some_levels], times[some_levels]):
            part = some_levels[some]
            sizes = [len(np.unique(v[part])) for v in (numbers, times, levels)]
            key = _order_of_levels(index, rows[part], levels[part])
            order = np.lexsort((key, times[part], numbers[part]))
            yield rows[part][order].reshape(sizes)


def _alike(groups: NDArray[Any], items: NDArray[Any]) -> Iterator[Rows]:
    """Yield the positions of groups that have the same items."""
    signatures: dict[bytes, list[Rows]] = {}
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        signatures.setdefault(np.sort(items[inside]).tobytes(), []).append(inside)
    for alike in signatures.values():
        yield np.concatenate(alike)


def _codes(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number for each combination of values, in the order of the columns."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, inverse = np.unique(column, return_inverse=True)
        code = code * len(values) + inverse
    return code


def _times(index: GribIndex, rows: Rows) -> NDArray[np.int64]:
    """Return one number for each combination of time and step, in their order."""
    return _codes(index.fields["time"][rows], index.fields["end"][rows])


def _levels(index: GribIndex, rows: Rows) -> NDArray[np.float64]:
    return np.round(index.fields["level"][rows], 9)


def _order_of_levels(index: GribIndex, rows: Rows, levels: NDArray[Any]) -> NDArray[np.float64]:
    """Return sorting keys of levels: from the surface upwards."""
    parameter = index.parameters[index.fields["parameter"][rows[0]]]
    return -levels if _level_type(parameter) == "isobaricInhPa" else levels


def _cube(index: GribIndex, rows: Rows, parameter: int, level_type: str) -> Cube:
    """Return the array of fields (member, time and step, level) with its coordinates."""
    fields = index.fields
    time, end = fields["time"][rows[0, :, 0]], fields["end"][rows[0, :, 0]]
    start = fields["start"][rows[0, :, 0]]
    times, steps = np.unique(time), np.unique(end)
    coords: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = {}
    if fields["number"][rows[0, 0, 0]] >= 0 or rows.shape[0] > 1:
        coords["number"] = (("number",), fields["number"][rows[:, 0, 0]].astype(np.int64))
    if len(times) * len(steps) == len(time):
        along: tuple[str, ...] = ("time", "step")
        coords |= {"time": (("time",), times), "step": (("step",), steps)}
        shape: tuple[int, ...] = (len(times), len(steps))
        starts = start.reshape(shape)
        one_start = (starts == starts[0]).all()
        start_dims, start = (("step",), starts[0]) if one_start else (along, starts)
    else:
        along, shape = ("valid_time",), (len(time),)
        coords |= {"time": (along, time), "step": (along, end)}
        start_dims = along
    valid = (time + np.round(end * 3600).astype(np.int64)).reshape(shape)
    coords["valid_time"] = (along, valid)
    if index.parameters[parameter]["stepType"] != "instant":
        coords["step_start"] = (start_dims, start)
    coords[level_type] = ((level_type,), _levels(index, rows[0, 0]))
    dims = ("number", *along, level_type)
    grid = int(fields["grid"][rows.flat[0]])
    cube = rows.reshape(rows.shape[0], *shape, rows.shape[2])
    return _squeezed(Cube(parameter, grid, level_type, dims, cube, coords))


def _squeezed(cube: Cube) -> Cube:
    """Turn dimensions of length 1 into scalar coordinates."""
    kept = tuple(d for d, n in zip(cube.dims, cube.rows.shape, strict=True) if n > 1)
    coords = {
        name: (
            tuple(d for d in dims if d in kept),
            values.reshape([n for d, n in zip(dims, values.shape, strict=True) if d in kept]),
        )
        for name, (dims, values) in cube.coords.items()
    }
    rows = cube.rows.reshape([n for n in cube.rows.shape if n > 1])
    return Cube(cube.parameter, cube.grid, cube.level_type, kept, rows, coords)
