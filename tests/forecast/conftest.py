"""Fixtures of tiny synthetic stores for the tests of `forecast`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.layout import SPLITS
from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store.spec import StoreSpec, Trajectories
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid


def _smooth(rng: np.random.Generator, n: int, grid: Grid, rotation: np.ndarray) -> np.ndarray:
    """Return random cubics of the unit vector, of zero area mean, rotated about the axis.

    Args:
        rng: source of the coefficients.
        n: number of fields.
        grid: Grid of the fields.
        rotation: eastward turn of each frame, radians, shape (t,).

    Returns:
        Fields of shape (t, n, nlat, nlon), of order 1.
    """
    latitude, longitude = np.radians(grid.latitude.numpy()), np.radians(grid.longitude.numpy())
    angle = longitude[None, :] - rotation[:, None]  # (t, w)
    z = np.broadcast_to(np.sin(latitude)[None, :, None], (len(rotation), len(latitude), 1))
    c = np.cos(latitude)[None, :, None]
    x, y = c * np.cos(angle)[:, None, :], c * np.sin(angle)[:, None, :]  # (t, h, w)
    basis = np.stack(
        [x, y, z + 0 * x, x * y, y * z, x * z, x * (5 * z**2 - 1), x**3 - 3 * x * y**2]
    )
    return np.einsum("nk,kthw->tnhw", rng.normal(size=(n, len(basis))), basis)


def _ice(grid: Grid, month: np.ndarray) -> np.ndarray:
    """Return where there is ice, (t, nlat, nlon), from the months (t, 1, 1) from January on."""
    north = np.sin(np.radians(grid.latitude.numpy()))[:, None]
    longitude, time = np.radians(grid.longitude.numpy()), np.arange(len(month))[:, None, None]
    cold = north * np.cos(2 * np.pi * month / 12) + 0.5 * np.cos(longitude - 0.4 * time)
    return (np.abs(north) > 0.7) & (cold > 0.4)


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
    moving_mask: bool = False,
    orography: bool = True,
    seed: int = 0,
) -> Path:
    """Write a store of synthetic fields.

    Args:
        path: Path of the store.
        kind: "trajectory" (as from the solver) or "files" (as from gridded files).
        nlat: rows of the Legendre-Gauss grid.
        nlon: columns.
        channels: short names; shallow-water ones for trajectories, sst and t2m for files.
        n_trajectories: trajectories; the last two are validation and test.
        n_times: states of a trajectory (default 6), or of the series (default 48).
        time_step: "1h" for trajectories and "1mo" for files unless given.
        mask: True if the first channel is missing over a "continent" (files only).
        moving_mask: True if the first channel is also missing under "ice", whose edge moves with
            the season and from year to year (files only).
        orography: True if the store has a static field.
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
    grid = Grid.legendre_gauss(nlat, nlon)
    scale = 10.0 ** -np.arange(len(channels))[:, None, None]
    offset = np.where(np.arange(len(channels)) == 0, 30.0, 0.0)[:, None, None]
    start = np.array([np.datetime64("2000-01-01", "ns")])
    step = TimeStep.parse(time_step)
    time = np.concatenate([step.advance(start, n) for n in range(n_times)])
    rotation = np.arange(n_times) * 0.25
    if trajectories:
        fields = np.stack(
            [_smooth(rng, len(channels), grid, rotation) for _ in range(n_trajectories)]
        )  # (trajectory, t, c, h, w)
        split = ["train"] * (n_trajectories - 2) + ["validation", "test"]
    else:
        month = (time.astype("datetime64[M]").astype(int) % 12)[:, None, None, None]
        north = np.sin(np.radians(grid.latitude.numpy()))[:, None]
        cycle = np.sin(2 * np.pi * month / 12) * north
        fields = _smooth(rng, len(channels), grid, rotation) + cycle  # (t, c, h, w)
        counts = n_times // 2, 3 * n_times // 4 - n_times // 2, n_times - 3 * n_times // 4
        split = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    fields = (fields * scale + offset).astype(np.float32)
    valid = None
    if mask:
        valid = np.ones((len(channels), nlat, nlon), dtype=bool)
        valid[0, nlat // 4 : nlat // 2, nlon // 4 : nlon // 2] = False
    if moving_mask:
        fields[:, 0][_ice(grid, month[:, 0])] = np.nan
        ever = np.ones((len(channels), nlat, nlon), dtype=bool) if valid is None else valid
        valid = ever & np.isfinite(fields).any(0)
    static = {}
    if orography:
        height = 1000.0 * _smooth(rng, 1, grid, np.zeros(1))[0, 0].clip(0)
        static[variable("orography")] = height
    spec = StoreSpec(
        grid=grid,
        channels=tuple(variable(name) for name in channels),
        time=time,
        time_step=time_step,
        split=split,
        title="Synthetic fields for tests",
        source="tests/forecast/conftest.py",
        configuration="",
        trajectories=Trajectories(np.arange(n_trajectories), ("random",) * n_trajectories)
        if trajectories
        else None,
        static=static,
        mask=valid,
        moving_mask=channels[:1] if moving_mask else (),
        radius=6.37122e6 if trajectories else None,
    )
    with StoreWriter(path, spec) as writer:
        if trajectories:
            for index, trajectory in enumerate(fields):
                writer.write_trajectory(index, trajectory)
        else:
            for times in writer.blocks():
                writer.write_times(times, fields[times])
        return writer.finalise()


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function `build_store`, which copies an earlier store with the same arguments."""
    made: dict[str, Path] = {}

    def make(path: Path, *args: Any, **options: Any) -> Path:
        key = repr((args, sorted(options.items())))
        if key not in made:
            made[key] = build_store(tmp_path_factory.mktemp("made") / "s.zarr", *args, **options)
        shutil.copytree(made[key], path)
        return path

    return make


@pytest.fixture(scope="module")
def stores(make_store, tmp_path_factory) -> dict[str, Path]:
    """Stores of trajectories, and of a monthly series with a mask."""
    folder = tmp_path_factory.mktemp("stores")
    return {
        kind: make_store(folder / f"{kind}.zarr", kind, mask=kind == "files")
        for kind in ("trajectory", "files")
    }
