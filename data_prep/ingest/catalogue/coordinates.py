"""Rows, columns and pressure levels of a variable, under the usual names."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_prep.ingest.catalogue.units import conversion
from data_prep.ingest.regridding.regrid import FileGrid

_LEVEL_NAMES = frozenset({"level", "lev", "plev", "pressure_level", "isobaricinhpa"})
_HORIZONTAL = {
    "latitude": ("degrees_north", {"lat", "latitude"}),
    "longitude": ("degrees_east", {"lon", "longitude"}),
}


def pressure_levels(dataset: xr.Dataset, name: str) -> tuple[str | None, NDArray[np.float64]]:
    """Return the pressure levels of a variable.

    Returns:
        Dimension of the levels (None for a single level), and their values in hPa, empty for a
        variable without pressure levels.
    """
    dims = set(dataset[name].dims)
    for key, array in dataset.variables.items():
        if key == name or array.ndim > 1 or not set(array.dims) <= dims:
            continue
        in_pascal = _in_pascal(str(key).lower(), array)
        if in_pascal is not None:
            values = np.atleast_1d(np.asarray(array.values, dtype=np.float64))
            dim = str(array.dims[0]) if array.ndim else None
            return dim, values / 100 if in_pascal else values
    return None, np.empty(0)


def _in_pascal(name: str, array: xr.Variable) -> bool | None:
    """Return True for pressures in Pa, False for hPa, None for coordinates other than pressure."""
    units = str(array.attrs.get("units", ""))
    is_pressure = array.attrs.get("standard_name") == "air_pressure" or "isobaric" in name
    if array.dtype.kind not in "iuf" or not (is_pressure or name in _LEVEL_NAMES):
        return None
    if not units:
        return name == "isobaricinpa"
    try:
        return conversion(units, "Pa").is_identity
    except ValueError:
        return None  # a model level or a height with a name such as `level`


def horizontal_dim(dataset: xr.Dataset, array: xr.DataArray, kind: str) -> str:
    """Return the dimension of rows or of columns.

    Args:
        dataset: Data set of the file.
        array: Variable.
        kind: "latitude" or "longitude".

    Raises:
        ValueError: if the variable has no such dimension.
    """
    units, names = _HORIZONTAL[kind]
    for dim in map(str, array.dims):
        if dim not in dataset.variables:
            continue
        attrs = dataset[dim].attrs
        if (
            attrs.get("standard_name") == kind
            or str(attrs.get("units", "")).lower() == units
            or dim.lower() in names
        ):
            return dim
    curvilinear = any(
        v.ndim == 2 and v.attrs.get("standard_name") == kind for v in dataset.coords.values()
    )
    reason = "a curvilinear grid" if curvilinear else "no grid of latitudes and longitudes"
    raise ValueError(
        f"its dimensions {tuple(array.dims)} have no 1-D {kind} ({reason}); regrid it to a "
        "regular global grid first"
    )


def file_grid(latitude: NDArray[Any], longitude: NDArray[Any], exact: bool) -> FileGrid:
    """Return the grid of a file.

    Raises:
        ValueError: see `FileGrid.from_coordinates`. The message suggests regridding if the rows
            cover the globe.
    """
    try:
        return FileGrid.from_coordinates(latitude, longitude, exact=exact)
    except ValueError as error:
        try:
            FileGrid.from_coordinates(latitude, longitude, exact=False)
        except ValueError:
            raise error from None
        raise ValueError(
            f"its {len(latitude)} rows from {latitude[0]:g} to {latitude[-1]:g} are not those of a "
            "grid with or without pole rows, or of Gaussian latitudes; they cover the globe, so "
            "data.grid can bring them onto one"
        ) from None
