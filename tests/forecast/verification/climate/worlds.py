"""Small worlds with a known climate, as stores, forecast files and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.layout import SPLITS
from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store.spec import StoreSpec
from data_prep.store.writer import StoreWriter
from forecast.inference.coordinates import ForecastAxes
from forecast.inference.writer import ForecastWriter
from forecast.verification.climate.diagnostic import Diagnostic
from forecast.verification.climate.setting import Block, Setting
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)
START = np.datetime64("2000-01-01", "ns")


def times(n: int, time_step: str = "6h", calendar: str = "standard", start: Any = START) -> Any:
    step = TimeStep.parse(time_step, calendar)
    return step.advance(np.full(n, start), np.arange(n))


def red_noise(rng: np.random.Generator, n: int, size: int, memory: float = 0.9) -> np.ndarray:
    """Return AR(1) series of unit variance, (n, size), with a lag-1 autocorrelation `memory`."""
    series = rng.normal(size=(n, size))
    series[1:] *= np.sqrt(1 - memory**2)
    for i in range(1, n):
        series[i] += memory * series[i - 1]
    return series


def red_climate(
    seed: int, n: int, channels: int = 2, grid: Grid = GRID, memory: float = 0.9
) -> np.ndarray:
    """Return fields (n, c, nlat, nlon) of red noise in smooth patterns about a mean of 10."""
    latitude, longitude = np.radians(grid.latitude.numpy()), np.radians(grid.longitude.numpy())
    rows = [np.cos(latitude) ** m * np.sin(latitude) ** p for m in range(4) for p in range(2)]
    waves = [f(m * longitude) for m in range(4) for f in (np.cos, np.sin)]
    pairs = [(2 * (k // 2) + p, k) for k in range(8) for p in range(2)]  # same m
    patterns = np.stack([np.outer(rows[r], waves[w]) for r, w in pairs])
    rng = np.random.default_rng(seed)
    amplitude = red_noise(rng, n, channels * len(patterns), memory)
    return 10 + np.einsum("tcp,phw->tchw", amplitude.reshape(n, channels, -1), patterns)


def setting(
    names: Sequence[str] = ("z500", "t2m"), grid: Grid = GRID, time_step: str = "6h", **facts: Any
) -> Setting:
    c = len(names)
    defaults: dict[str, Any] = {
        "valid": np.ones((c, *grid.shape), dtype=bool),
        "reference": None,
        "low": np.full(c, 5.0),
        "high": np.full(c, 15.0),
        "longest": 10**6,
        "segment": 16,
    }
    interval = TimeStep.parse(time_step, facts.pop("calendar", "standard"))
    channels = tuple(variable(name) for name in names)
    return Setting(grid=grid, channels=channels, interval=interval, **(defaults | facts))


def feed(
    kind: type[Diagnostic],
    facts: Setting,
    fields: np.ndarray,
    time: np.ndarray | None = None,
    *,
    groups: np.ndarray | None = None,
    cuts: Sequence[int] = (),
) -> Diagnostic:
    """Return a diagnostic of one run, read in blocks that end at the cuts and between groups."""
    n = len(fields)
    time = times(n, facts.interval.label, facts.interval.calendar.name) if time is None else time
    groups = np.zeros(n, dtype=int) if groups is None else groups
    found = kind(facts, int(groups.max()) + 1)
    edges = sorted({0, n, *cuts, *(np.flatnonzero(np.diff(groups)) + 1).tolist()})
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        values = np.where(facts.valid, fields[a:b], np.nan)
        found.update(Block(facts, values, time[a:b], int(groups[a]), first=a == 0))
    return found


def write_store(
    path: Path,
    fields: np.ndarray,
    *,
    names: Sequence[str] = ("z500", "t2m"),
    time_step: str = "6h",
    calendar: str = "standard",
    grid: Grid = GRID,
    mask: np.ndarray | None = None,
    start: Any = START,
) -> Path:
    """Write a store of one series, (t, c, nlat, nlon); its first half is the training split."""
    n = len(fields)
    split = [SPLITS[0 if i < n // 2 else 1 if i < 3 * n // 4 else 2] for i in range(n)]
    spec = StoreSpec(
        grid=grid,
        channels=tuple(variable(name) for name in names),
        time=times(n, time_step, calendar, start),
        time_step=time_step,
        split=split,
        title="A known climate",
        source="a test",
        configuration="",
        mask=mask,
        calendar=calendar,
    )
    with StoreWriter(path, spec) as writer:
        for span in writer.blocks():
            writer.write_times(span, fields[span].astype(np.float32))
        return writer.finalise()


def write_forecast(
    path: Path,
    fields: np.ndarray,
    *,
    names: Sequence[str] = ("z500", "t2m"),
    time_step: str = "6h",
    calendar: str = "standard",
    grid: Grid = GRID,
    starts: np.ndarray | None = None,
    members: int | None = None,
    every: int = 1,
    ended: dict[int, int] | None = None,
) -> Path:
    """Write a forecast file, (row, lead_time, c, nlat, nlon) from the initial state on.

    A row is a forecast, or one of the members of a forecast.
    """
    n, k = fields.shape[:2]
    axes = ForecastAxes(
        grid=grid,
        channels=[variable(name) for name in names],
        time_step=TimeStep.parse(time_step, calendar),
        init_time=np.full(n // (members or 1), START) if starts is None else starts,
        steps=np.arange(k) * every,
        member=None if members is None else np.arange(members),
    )
    attributes = {"title": "A forecast", "source": "a test", "history": "made by a test"}
    with ForecastWriter(path, axes, attributes, batch_size=n) as writer:
        for position in range(k):
            writer.write(range(n), position, fields[:, position])
        for index, step in (ended or {}).items():
            writer.end(index, step)
    return path
