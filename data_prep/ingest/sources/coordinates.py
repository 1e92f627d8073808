"""Recognition of the horizontal coordinates of a data set."""

from __future__ import annotations

import xarray as xr

_NAMES = {"latitude": {"lat", "latitude"}, "longitude": {"lon", "longitude"}}
_UNITS = {"latitude": "degrees_north", "longitude": "degrees_east"}


def has_fields(dataset: xr.Dataset) -> bool:
    """Return True if a data set has variables on latitudes and longitudes."""
    horizontal = {
        kind: {str(d) for k, v in dataset.variables.items() if _is(kind, str(k), v) for d in v.dims}
        for kind in _NAMES
    }
    return any(
        set(map(str, array.dims)) & horizontal["latitude"]
        and set(map(str, array.dims)) & horizontal["longitude"]
        for key, array in dataset.data_vars.items()
        if not any(_is(kind, str(key), array.variable) for kind in _NAMES)
    )


def _is(kind: str, name: str, variable: xr.Variable) -> bool:
    return (
        name.lower() in _NAMES[kind]
        or variable.attrs.get("standard_name") == kind
        or str(variable.attrs.get("units", "")).lower() == _UNITS[kind]
    )
