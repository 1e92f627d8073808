"""A tiny synthetic store with the layout of the real ones, shared by the tests of `forecast`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.variables import variable

Coordinates = tuple[np.ndarray, np.ndarray]


def _legendre_gauss(nlat: int, nlon: int) -> Coordinates:
    nodes, _ = np.polynomial.legendre.leggauss(nlat)
    return np.degrees(np.arcsin(nodes[::-1])), np.arange(nlon) * 360.0 / nlon


def _smooth(
    rng: np.random.Generator, n: int, grid: Coordinates, rotation: np.ndarray
) -> np.ndarray:
    """Random cubics of the unit vector, of zero mean over the sphere, rotated about the axis.

    Args:
        rng: source of the coefficients.
        n: number of fields.
        grid: latitude and longitude, degrees.
        rotation: eastward turn of each frame, radians, shape (t,).

    Returns:
        Fields of shape (t, n, nlat, nlon), of order 1.
    """
    latitude, longitude = np.radians(grid[0]), np.radians(grid[1])
    angle = longitude[None, :] - rotation[:, None]  # (t, w)
    z = np.broadcast_to(np.sin(latitude)[None, :, None], (len(rotation), len(latitude), 1))
    c = np.cos(latitude)[None, :, None]
    x, y = c * np.cos(angle)[:, None, :], c * np.sin(angle)[:, None, :]  # (t, h, w)
    basis = np.stack(
        [x, y, z + 0 * x, x * y, y * z, x * z, x * (5 * z**2 - 1), x**3 - 3 * x * y**2]
    )
    return np.einsum("nk,kthw->tnhw", rng.normal(size=(n, len(basis))), basis)


def _area_weights(latitude: np.ndarray, nlon: int) -> np.ndarray:
    _, weights = np.polynomial.legendre.leggauss(len(latitude))
    return np.repeat(weights[:, None] / 2 / nlon, nlon, axis=1)  # (h, w), sum 1


def _moments(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel of (n, c, h, w), area-weighted, missing left out."""
    w = np.where(np.isnan(x), 0.0, weights)
    total = w.sum((0, 2, 3))
    mean = (w * np.nan_to_num(x)).sum((0, 2, 3)) / total
    deviation = np.nan_to_num(x - mean[:, None, None])
    return mean, np.sqrt((w * deviation**2).sum((0, 2, 3)) / total)


def build_store(
    path: Path,
    kind: str = "trajectory",
    *,
    nlat: int = 8,
    nlon: int = 16,
    channels: tuple[str, ...] | None = None,
    n_trajectories: int = 6,
    n_times: int | None = None,
    time_step: str | None = None,
    mask: bool = False,
    orography: bool = True,
    seed: int = 0,
) -> Path:
    """Write a store that the real writer could have written.

    Args:
        path: where the zarr group goes.
        kind: "trajectory" (as from the solver) or "files" (as from gridded files).
        nlat: rows of the Legendre-Gauss grid.
        nlon: columns.
        channels: short names; shallow-water ones for trajectories, sst or z500 and t2m for files.
        n_trajectories: trajectories; the last two are validation and test.
        n_times: states of a trajectory (default 6), or of the series (default 48).
        time_step: "1h" for trajectories and "1mo" for files unless given.
        mask: whether the first channel is missing over a "continent" (files only).
        orography: whether a static field is there.
        seed: seed of the fields.

    Returns:
        The path.
    """
    rng = np.random.default_rng(seed)
    trajectories = kind == "trajectory"
    channels = channels or (
        ("geopotential", "vorticity", "divergence") if trajectories else ("sst", "t2m")
    )
    time_step = time_step or ("1h" if trajectories else "1mo")
    n_times = n_times or (6 if trajectories else 48)
    grid = _legendre_gauss(nlat, nlon)
    weights = _area_weights(grid[0], nlon)
    scale = 10.0 ** -np.arange(len(channels))[:, None, None]
    offset = np.where(np.arange(len(channels)) == 0, 30.0, 0.0)[:, None, None]
    unit = {"h": "h", "d": "D", "mo": "M"}[time_step.lstrip("0123456789")]
    count = int(time_step.rstrip("hdmo"))
    start = np.datetime64("2000-01-01", unit)
    time = (start + np.arange(n_times) * np.timedelta64(count, unit)).astype("datetime64[ns]")
    rotation = np.arange(n_times) * 0.25
    if trajectories:
        fields = np.stack(
            [_smooth(rng, len(channels), grid, rotation) for _ in range(n_trajectories)]
        )  # (trajectory, t, c, h, w)
        split = np.array(["train"] * (n_trajectories - 2) + ["validation", "test"])
    else:
        month = (time.astype("datetime64[M]").astype(int) % 12)[:, None, None, None]
        cycle = np.sin(2 * np.pi * month / 12) * np.sin(np.radians(grid[0]))[:, None]
        fields = _smooth(rng, len(channels), grid, rotation) + cycle
        split = np.array(["train"] * n_times, dtype=object)
        split[n_times // 2 : 3 * n_times // 4] = "validation"
        split[3 * n_times // 4 :] = "test"
    fields = fields * scale + offset
    valid = np.ones((len(channels), nlat, nlon), dtype=np.int8)
    if mask:
        valid[0, nlat // 4 : nlat // 2, nlon // 4 : nlon // 2] = 0
        fields = np.where(valid == 1, fields, np.nan)
    fields = fields.astype(np.float32)

    training = fields[split == "train"].astype(np.float64)
    series = training if trajectories else training[None]
    flat = series.reshape(-1, *series.shape[2:])
    steps = np.diff(series, axis=1).reshape(-1, *series.shape[2:])
    mean, std = _moments(flat, weights)
    variables: dict[str, tuple] = {
        "mean": ("channel", mean),
        "std": ("channel", std),
        "std_step": ("channel", _moments(steps, weights)[1]),
        "split": ("trajectory" if trajectories else "time", split.astype(object)),
    }
    dims = ("trajectory",) * trajectories + ("time", "channel", "latitude", "longitude")
    variables["fields"] = (dims, fields)
    if trajectories:
        variables["seed"] = ("trajectory", np.arange(n_trajectories))
        variables["case"] = ("trajectory", np.array(["random"] * n_trajectories, dtype=object))
    else:
        index = time[split == "train"].astype("datetime64[M]").astype(int) % 12
        if len(index) >= 24 and len(set(index)) == 12:
            climatology = np.stack([flat[index == m].mean(0) for m in range(12)])
            anomaly = flat - climatology[index]
            climatology_dims = ("month", "channel", "latitude", "longitude")
            variables["climatology"] = (climatology_dims, climatology.astype(np.float32))
            variables["climatology_std"] = ("channel", _moments(anomaly, weights)[1])
            variables["climatology_std_step"] = (
                "channel",
                _moments(np.diff(anomaly, axis=0), weights)[1],
            )
    if mask:
        variables["mask"] = (("channel", "latitude", "longitude"), valid)
    table = [variable(name) for name in channels]
    coords: dict[str, tuple] = {
        "time": ("time", time),
        "latitude": ("latitude", grid[0], {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": (
            "longitude",
            grid[1],
            {"standard_name": "longitude", "units": "degrees_east"},
        ),
        "channel": ("channel", np.array(channels, dtype=object)),
        "channel_standard_name": (
            "channel",
            np.array([v.standard_name for v in table], dtype=object),
        ),
        "channel_long_name": ("channel", np.array([v.long_name for v in table], dtype=object)),
        "channel_units": ("channel", np.array([v.units for v in table], dtype=object)),
        "channel_role": ("channel", np.array([v.role for v in table], dtype=object)),
        "channel_conserved": ("channel", np.array([v.conserved for v in table])),
    }
    if "climatology" in variables:
        coords["month"] = ("month", np.arange(1, 13))
    if orography:
        height = 1000.0 * _smooth(rng, 1, grid, np.zeros(1))[0].clip(0)
        variables["static"] = (
            ("channel_static", "latitude", "longitude"),
            height.astype(np.float32),
        )
        coords["channel_static"] = ("channel_static", np.array(["orography"], dtype=object))
        coords["channel_static_long_name"] = (
            "channel_static",
            np.array(["Height of the surface"], dtype=object),
        )
        coords["channel_static_units"] = ("channel_static", np.array(["m"], dtype=object))
    attributes = {
        "Conventions": "CF-1.8",
        "title": "Synthetic fields for tests",
        "source": "tests/forecast/conftest.py",
        "history": "made by a test",
        "format_version": 1,
        "grid_kind": "legendre-gauss",
        "time_step": time_step,
        "configuration": "",
        "provenance": json.dumps({"source": "synthetic"}),
    }
    if trajectories:
        attributes["radius"] = 6.37122e6
    xr.Dataset(variables, coords, attributes).to_zarr(path, zarr_format=3, consolidated=False)
    return path


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """The function `build_store`, without an import from a conftest."""
    return build_store


@pytest.fixture(scope="module")
def stores(make_store, tmp_path_factory) -> dict[str, Path]:
    """Trajectories, and a monthly series with a mask."""
    folder = tmp_path_factory.mktemp("stores")
    return {
        kind: make_store(folder / f"{kind}.zarr", kind, mask=kind == "files")
        for kind in ("trajectory", "files")
    }
