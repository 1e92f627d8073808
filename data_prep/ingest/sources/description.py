"""Dimensions, time units and calendars that the configuration supplies."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from configs.schema import FilesData

_ATTRIBUTES = {
    "latitude": {"units": "degrees_north", "standard_name": "latitude"},
    "longitude": {"units": "degrees_east", "standard_name": "longitude"},
    "level": {"units": "hPa", "standard_name": "air_pressure"},
    "time": {"standard_name": "time"},
    "trajectory": {},
}


def described(dataset: xr.Dataset, description: FilesData) -> xr.Dataset:
    """Return a data set with the names, units and calendar of the configuration.

    Args:
        dataset: Data set whose times are not decoded.
        description: Section `data` of the configuration: `dimensions` gives dimensions and
            coordinates their names, `time_units` and `calendar` describe the times.

    Raises:
        ValueError: if two dimensions get one name, or a renamed one meets another of that name.
    """
    original, dataset = dataset, _renamed(dataset, description)
    for kind in set(description.dimensions.values()) & set(map(str, dataset.dims)):
        if kind not in dataset.variables and kind in ("time", "trajectory"):
            dataset = dataset.assign_coords({kind: (kind, np.arange(dataset.sizes[kind]))})
        if kind in dataset.variables:
            dataset[kind].attrs = _ATTRIBUTES[kind] | dataset[kind].attrs
    if description.time_units or description.calendar:
        dataset = _with_times(dataset, description)
    dataset.set_close(original.close)
    return dataset


def _renamed(dataset: xr.Dataset, description: FilesData) -> xr.Dataset:
    here = {*map(str, dataset.dims), *map(str, dataset.variables)}
    names: dict[Any, str] = {k: v for k, v in description.dimensions.items() if k in here}
    for name, kind in names.items():
        others = [other for other, k in names.items() if k == kind and other != name]
        if others or (kind in here and kind != name):
            rival = others[0] if others else kind
            raise ValueError(
                f"data.dimensions.{name}={kind}, but the file also has {rival} as {kind}; give one "
                "of them"
            )
    return dataset.rename({k: v for k, v in names.items() if k != v})


def _with_times(dataset: xr.Dataset, description: FilesData) -> xr.Dataset:
    """Set units and calendar of the times."""
    given = {"units": description.time_units, "calendar": description.calendar}
    attrs = {key: value for key, value in given.items() if value}
    if "time" in dataset.dims and "time" not in dataset.variables:
        dataset = dataset.assign_coords(time=("time", np.arange(dataset.sizes["time"])))
    names = [str(k) for k, v in dataset.variables.items() if _is_time(str(k), v)]
    for name in names:
        dataset[name].attrs = {"standard_name": "time"} | dataset[name].attrs | attrs
    return dataset


def _is_time(name: str, variable: xr.Variable) -> bool:
    if variable.attrs.get("standard_name", "time") != "time" or variable.dtype.kind not in "iuf":
        return False
    return name.lower() in ("time", "valid_time") or " since " in str(variable.attrs.get("units"))
