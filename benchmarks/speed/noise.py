"""Stores and forecasts of noise, for benchmarks of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

GRID = (64, 128)
CHANNELS = ("z500", "t850", "q700", "u850", "v850", "t2m", "msl", "u10")


def make_store(path: Path, n_times: int) -> None:
    """Write a store of six-hourly states with a mean training state."""
    from configs.variables import variable
    from data_prep.store.spec import StoreSpec
    from data_prep.store.writer import StoreWriter
    from sphere_ops.grid import Grid

    spec = StoreSpec(
        grid=Grid.legendre_gauss(*GRID),
        channels=tuple(variable(name) for name in CHANNELS),
        time=np.datetime64("2000-01-01", "h") + 6 * np.arange(n_times),
        time_step="6h",
        split=["train"] * n_times,
        title="Noise",
        source="benchmarks.speed.noise",
        configuration="",
    )
    with StoreWriter(path, spec) as writer:
        for times in writer.blocks():
            writer.write_times(times, _fields(times.start, times.stop - times.start))
        writer.finalise()


def make_forecast(
    path: Path, store_path: Path, n_starts: int, n_leads: int, members: int | None = None
) -> None:
    """Write forecasts from the first times of a store: the truth and an error.

    The error grows for 50 steps.
    """
    from data_prep.store.reader import Store
    from forecast.inference.coordinates import TIME_STEP, ForecastAxes
    from forecast.inference.writer import ForecastWriter

    store = Store(store_path)
    store.reader.in_memory = False
    axes = ForecastAxes(
        grid=store.grid,
        channels=store.channels,
        time_step=store.time_step,
        init_time=store.time[:n_starts],
        steps=np.arange(n_leads),
        member=None if members is None else np.arange(members),
    )
    errors = _fields(1, 16)
    titles = {"title": "Noise", "source": "benchmarks.speed.noise", TIME_STEP: "6h"}
    with ForecastWriter(path, axes, titles, batch_size=1) as writer:
        for i in range(n_starts):
            states = store.states(i, 0, n_leads).numpy()
            for row in range(i * axes.n_members, (i + 1) * axes.n_members):
                for k in range(n_leads):
                    error = min(0.02 * k, 1.0) * errors[(row + k) % len(errors)]
                    writer.write([row], k, (states[k] + error)[None])


def _fields(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return fields (n, c, nlat, nlon) with the digits of packed data, which compress."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, len(CHANNELS), *GRID), dtype=np.float32)
    return np.asarray(np.round(noise * 256) / 256, dtype=np.float32)
