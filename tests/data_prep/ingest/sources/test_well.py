"""Trajectories of The Well, written by its published schema."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from configs.schema import FilesData
from data_prep.ingest.sources import Sources

h5py = pytest.importorskip("h5py")
NLAT, NLON, TIMES, TRAJECTORIES = 4, 8, 3, 2


def make_well(path: Path, kind: str = "spherical", order: tuple[str, str] = ("theta", "phi"),
              **time: str) -> dict[str, np.ndarray]:  # fmt: skip
    """Write a file like those of planetswe, and return its fields in the order of the file."""
    rng = np.random.default_rng(2)
    theta = (np.arange(NLAT) + 0.5) * np.pi / NLAT
    phi = np.arange(NLON) * 2 * np.pi / NLON
    axes = {"theta": theta, "phi": phi, "x": np.arange(NLAT) / NLAT, "y": np.arange(NLON) / NLON}
    shape = (TRAJECTORIES, TIMES, *(len(axes[name]) for name in order))
    height = rng.normal(size=shape).astype("f4")
    velocity = rng.normal(size=(*shape, 2)).astype("f4")
    topography = rng.normal(size=shape[2:]).astype("f4")
    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="planetswe", grid_type=kind, n_spatial_dims=2,
            n_trajectories=TRAJECTORIES, simulation_parameters=[],
        )  # fmt: skip
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = list(order)
        dimensions.create_dataset("time", data=np.arange(TIMES, dtype="f4"))
        dimensions["time"].attrs.update(sample_varying=False, **time)
        for name in order:
            dimensions.create_dataset(name, data=axes[name].astype("f4"))
            dimensions[name].attrs.update(sample_varying=False, time_varying=False)
        boundary = file.create_group("boundary_conditions/phi_periodic")
        boundary.attrs.update(bc_type="PERIODIC", associated_dims=["phi"], associated_fields=[])
        boundary.create_dataset("mask", data=np.zeros(NLON, dtype=bool))
        file.create_group("scalars").attrs["field_names"] = []
        for group, fields in (
            ("t0_fields", {"height": height, "topography": topography}),
            ("t1_fields", {"velocity": velocity}),
            ("t2_fields", {}),
        ):
            file.create_group(group).attrs["field_names"] = list(fields)
            for name, values in fields.items():
                item = file[group].create_dataset(name, data=values)
                varying = name != "topography"
                item.attrs.update(
                    sample_varying=varying, time_varying=varying, dim_varying=[True, True]
                )
    return {"height": height, "velocity": velocity, "topography": topography, "theta": theta,
            "phi": phi}  # fmt: skip


def opened(path: Path, **settings: Any) -> xr.Dataset:
    config = FilesData(variables=("t2m",), **settings) if settings else None
    with Sources([path], config) as sources:
        (dataset,) = sources[path]
        return dataset.load()


def test_trajectories_have_named_dimensions_and_degrees(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5")
    data = opened(tmp_path / "a.hdf5")
    assert data.height.dims == ("trajectory", "time", "latitude", "longitude")
    np.testing.assert_array_equal(data.height, truth["height"])
    np.testing.assert_allclose(data.latitude, 90 - np.degrees(truth["theta"]), atol=1e-5)
    np.testing.assert_allclose(data.longitude, np.degrees(truth["phi"]), atol=1e-4)
    assert data.latitude.attrs["units"] == "degrees_north"
    assert data.trajectory.values.tolist() == [0, 1]
    assert data.attrs["dataset_name"] == "planetswe"


def test_components_of_vectors_are_variables(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5")
    data = opened(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(data.velocity_0, truth["velocity"][..., 0])
    np.testing.assert_array_equal(data.velocity_1, truth["velocity"][..., 1])
    assert data.topography.dims == ("latitude", "longitude")


def test_a_file_without_vectors_opens(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["t1_fields"]
    data = opened(tmp_path / "a.hdf5")
    assert set(data.data_vars) == {"height", "topography"}
    np.testing.assert_array_equal(data.height, truth["height"])


def test_columns_may_come_first(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5", order=("phi", "theta"))
    data = opened(tmp_path / "a.hdf5")
    assert data.height.dims == ("trajectory", "time", "longitude", "latitude")
    np.testing.assert_array_equal(data.velocity_0, truth["velocity"][..., 0])


def test_time_has_units_if_the_file_or_the_configuration_gives_them(tmp_path: Path) -> None:
    make_well(tmp_path / "a.hdf5")
    make_well(tmp_path / "b.hdf5", units="hours since 2000-01-01")
    assert "units" not in opened(tmp_path / "a.hdf5").time.attrs
    assert opened(tmp_path / "b.hdf5").time.attrs["units"] == "hours since 2000-01-01"
    given = opened(tmp_path / "a.hdf5", time_units="days since 1900-01-01", calendar="noleap")
    assert given.time.attrs["units"] == "days since 1900-01-01"
    assert given.time.attrs["calendar"] == "noleap"


def test_cartesian_coordinates_can_be_described(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5", kind="cartesian", order=("x", "y"))
    data = opened(tmp_path / "a.hdf5", dimensions={"x": "latitude", "y": "longitude"})
    assert data.height.dims == ("trajectory", "time", "latitude", "longitude")
    np.testing.assert_array_equal(data.velocity_1, truth["velocity"][..., 1])


def test_fields_are_read_only_when_they_are_needed(tmp_path: Path) -> None:
    truth = make_well(tmp_path / "a.hdf5")
    with Sources([tmp_path / "a.hdf5"]) as sources:
        array = sources[tmp_path / "a.hdf5"][0].velocity_1
        assert not array.variable._in_memory
        part = array.isel(trajectory=1, time=[2, 0])
        np.testing.assert_array_equal(part, truth["velocity"][1, [2, 0], ..., 1])
