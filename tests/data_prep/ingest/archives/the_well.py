"""HDF5 files of The Well, as its data set `planetswe` of shallow water on the sphere.

Groups `dimensions`, `t0_fields` (scalars), `t1_fields` (vectors, components last), `scalars` and
`boundary_conditions`; arrays of shape (trajectory, time, theta, phi). Theta is the colatitude in
radians, given from the south pole to the north; velocity has the components along phi (east) and
theta (south); times are hours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.data_prep.ingest.archives import truth
from tests.data_prep.ingest.archives.raw import Raw


def make(
    folder: Path, *, trajectories: int = 3, steps: int = 8, files: int = 1, nlat: int = 16
) -> list[Path]:
    """Write files of hourly states of some trajectories.

    Args:
        folder: Folder of the files.
        trajectories: Number of trajectories in each file.
        steps: Number of states of a trajectory.
        files: Number of files.
        nlat: Number of rows, half the number of columns.

    Returns:
        Paths of the files.
    """
    import h5py

    theta = np.pi * (nlat - 0.5 - np.arange(nlat)) / nlat
    phi = 2 * np.pi * np.arange(2 * nlat) / (2 * nlat)
    latitude, longitude = 90 - np.degrees(theta), np.degrees(phi)
    hours = np.arange(steps, dtype=float)
    paths = []
    for number in range(files):
        members = range(number * trajectories, (number + 1) * trajectories)
        height, east, north = (
            np.stack([truth.field(n, latitude, longitude, hours, 500, m) for m in members])
            for n in ("z", "u", "v")
        )
        path = folder / f"planetswe_IC{number:02d}_s1.hdf5"
        with h5py.File(path, "w") as file:
            file.attrs.update(
                {
                    "dataset_name": "planetswe",
                    "grid_type": "equiangular",
                    "n_spatial_dims": 2,
                    "n_trajectories": trajectories,
                    "simulation_parameters": np.array([], dtype="f8"),
                }
            )
            dimensions = file.create_group("dimensions")
            dimensions.attrs["spatial_dims"] = ["theta", "phi"]
            for name, values in (("time", hours), ("theta", theta), ("phi", phi)):
                array = dimensions.create_dataset(name, data=values.astype("f4"))
                array.attrs["sample_varying"] = False
                if name != "time":
                    array.attrs["time_varying"] = False
            _field(file.create_group("t0_fields"), "height", height / 9.80665)
            _field(file.create_group("t1_fields"), "velocity", np.stack([east, -north], -1))
            file.create_group("t2_fields").attrs["field_names"] = np.array([], dtype="f8")
            file.create_group("scalars").attrs["field_names"] = np.array([], dtype="f8")
            conditions = file.create_group("boundary_conditions")
            for name, dim, kind in (
                ("x_periodic", "phi", "PERIODIC"),
                ("y_open", "theta", "OPEN"),
            ):
                group = conditions.create_group(name)
                group.attrs.update(
                    {
                        "associated_dims": [dim],
                        "associated_fields": np.array([], dtype="f8"),
                        "bc_type": kind,
                        "sample_varying": False,
                        "time_varying": False,
                    }
                )
                mask = np.zeros(len(dimensions[dim]), dtype=bool)
                mask[[0, -1]] = True
                group.create_dataset("mask", data=mask)
        paths.append(path)
    return paths


def read(paths: list[Path], name: str, trajectory: int, time: int) -> Raw:
    """Read one field by the names of the archive.

    Args:
        paths: Paths from `make`.
        name: height, velocity_east or velocity_north.
        trajectory: Index of the trajectory over all files.
        time: Index of the time.
    """
    import h5py

    for path in paths:
        with h5py.File(path) as file:
            count = int(file.attrs["n_trajectories"])
            if trajectory >= count:
                trajectory -= count
                continue
            if name == "height":
                values = file["t0_fields/height"][trajectory, time]
            else:
                along = 0 if name == "velocity_east" else 1
                sign = 1 if along == 0 else -1
                values = sign * file["t1_fields/velocity"][trajectory, time, ..., along]
            latitude = 90 - np.degrees(file["dimensions/theta"][:].astype(float))
            longitude = np.degrees(file["dimensions/phi"][:].astype(float))
            return Raw(latitude, longitude, values.astype(float))
    raise LookupError(f"{len(paths)} files have no trajectory {trajectory} more")


def _field(group: object, name: str, values: NDArray[np.float64]) -> None:
    group.attrs["field_names"] = [name]
    array = group.create_dataset(name, data=values.astype("f4"), chunks=(1, 1, *values.shape[2:]))
    array.attrs.update({"dim_varying": [True, True], "sample_varying": True, "time_varying": True})
