"""Trajectories in the HDF5 files of The Well, as data sets with named dimensions.

The format is described at https://polymathic-ai.org/the_well/data_format.
"""

from __future__ import annotations

from typing import Any

import netCDF4
import numpy as np
import xarray as xr

_NORTH = {"units": "degrees_north", "standard_name": "latitude"}
_EAST = {"units": "degrees_east", "standard_name": "longitude"}


def is_well(root: netCDF4.Dataset) -> bool:
    """Return True for a file of The Well."""
    return {"dimensions", "t0_fields"} <= set(root.groups) and "n_trajectories" in root.ncattrs()


def open_well(root: netCDF4.Dataset, groups: dict[str, xr.Dataset]) -> list[xr.Dataset]:
    """Return the scalars and the vector components of a file on the sphere.

    Args:
        root: Open file.
        groups: Data sets of the groups t0_fields and t1_fields, with anonymous dimensions.

    Returns:
        One data set; its variables have the dimensions trajectory, time, and those of space.
        Components of vectors are variables with the number of the component appended: files do not
        say which direction it is.
        Colatitude theta and longitude phi, in radians, become latitude and longitude.

    Raises:
        ValueError: if coordinates differ between trajectories.
    """
    described = root["dimensions"]
    spatial = [str(d) for d in np.atleast_1d(described.getncattr("spatial_dims"))]
    coords = {name: described[name][...].filled() for name in ("time", *spatial)}
    if any(values.ndim != 1 for values in coords.values()):
        raise ValueError("its coordinates differ between trajectories, expected one set for all")
    names = {"theta": "latitude", "phi": "longitude"}
    dims = [names.get(name, name) for name in spatial]
    variables: dict[str, xr.Variable] = {}
    for path, dataset in groups.items():
        for key, array in dataset.data_vars.items():
            variable = root[f"{path}/{key}"]
            leading = [
                dim
                for dim, flag in (("trajectory", "sample_varying"), ("time", "time_varying"))
                if _flag(variable, flag)
            ]
            varying = np.atleast_1d(_attribute(variable, "dim_varying", [True] * len(dims)))
            space = [dim for dim, flag in zip(dims, varying, strict=True) if flag]
            variables |= _components(str(key), array.variable, [*leading, *space])
    result = xr.Dataset(variables, attrs=_attributes(root))
    time = {k: str(v) for k, v in _all_attributes(described["time"]).items() if k == "units"}
    result = result.assign_coords(
        time=("time", coords["time"], time),
        trajectory=("trajectory", np.arange(result.sizes.get("trajectory", 1))),
    )
    for name, dim in zip(spatial, dims, strict=True):
        values = np.asarray(coords[name], dtype=np.float64)
        if name == "theta":
            result = result.assign_coords({dim: (dim, 90 - np.degrees(values), _NORTH)})
        elif name == "phi":
            result = result.assign_coords({dim: (dim, np.degrees(values), _EAST)})
        else:
            result = result.assign_coords({dim: (dim, values)})
    return [result]


def _components(name: str, array: xr.Variable, dims: list[str]) -> dict[str, xr.Variable]:
    """Return a scalar, or the components of a vector by their numbers."""
    if array.ndim == len(dims):
        return {name: array.copy(deep=False)._replace(dims=dims)}
    renamed = array._replace(dims=[*dims, "component"])
    return {f"{name}_{k}": renamed.isel(component=k) for k in range(renamed.sizes["component"])}


def _flag(variable: netCDF4.Variable, name: str) -> bool:
    return bool(np.all(_attribute(variable, name, True)))


def _attribute(variable: netCDF4.Variable, name: str, default: Any) -> Any:
    return variable.getncattr(name) if name in variable.ncattrs() else default


def _all_attributes(item: Any) -> dict[str, Any]:
    return {name: item.getncattr(name) for name in item.ncattrs()}


def _attributes(root: netCDF4.Dataset) -> dict[str, Any]:
    return {
        name: value
        for name, value in _all_attributes(root).items()
        if isinstance(value, str | int | float | np.generic)
    }
