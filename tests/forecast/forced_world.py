"""World in which t2m follows sst, and the settings of a small model of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.schema import Config
from configs.variables import variable
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from sphere_ops.grid import Grid
from tests.forecast.small_run import BASE

GRID = Grid.legendre_gauss(8, 16)
MODEL = {"branches": {"spectral": {"lmax": 6}}, "channels": 6, "blocks": 1, "spectral_limit": None}


def forced_world(path: Path, n: int = 160, grid: Grid = GRID) -> Path:
    """Write a series of t2m that follows sst: t2m(t + 1) = t2m(t) / 2 + sst(t + 1) / 2.

    At each time sst is new: t2m cannot be forecast from itself. A continent has no sst.
    """
    rng = np.random.default_rng(1)
    latitude, longitude = np.radians(grid.latitude.numpy()), np.radians(grid.longitude.numpy())
    north = np.sin(latitude)[:, None] + 0 * longitude
    east = np.cos(latitude)[:, None] * np.cos(longitude)
    waves = np.stack([north, east, np.cos(latitude)[:, None] * np.sin(longitude)])
    sst = np.einsum("tk,khw->thw", rng.normal(size=(n, 3)), waves)
    t2m = np.zeros_like(sst)
    for t in range(1, n):
        t2m[t] = t2m[t - 1] / 2 + sst[t] / 2
    mask = np.ones((2, *grid.shape), dtype=bool)
    mask[1] &= ~((north > 0.5) & (east > 0.3))
    spec = StoreSpec(
        grid=grid,
        channels=(variable("t2m"), variable("sst")),
        time=np.datetime64("2001-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h"),
        time_step="6h",
        split=["train"] * 120 + ["validation"] * 20 + ["test"] * (n - 140),
        title="Forced world",
        source="tests",
        configuration="",
        mask=mask,
    )
    fields = np.stack([280 + t2m, 15 + sst], 1).astype("f4")
    with StoreWriter(path, spec) as writer:
        for block in writer.blocks():
            writer.write_times(block, fields[block])
        return writer.finalise()


def settings(data: dict | None = None, **training: object) -> Config:
    forced = {"variables": ["t2m"], "forcing": ["sst"]}
    return Config.model_validate(
        {
            "data": {"source": "files", "time_step": "6h"} | forced | (data or {}),
            "model": MODEL,
            "training": BASE["training"]
            | {"steps": 150, "batch_size": 8, "validate_every": 150, "learning_rate": 5e-2}
            | training,
            "tracking": {"enabled": False},
        }
    )
