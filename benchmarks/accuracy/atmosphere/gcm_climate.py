"""Climate of a store of the circulation model: jets, rain, storm tracks, drift.

    python -m benchmarks.accuracy.atmosphere.gcm_climate STORE [--json FILE] [--figure FILE]

The store has u on pressure levels, z500, t2m, tp and sp every six hours.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from numpy.typing import NDArray

from benchmarks.accuracy.records import digest, write
from benchmarks.speed.measure import machine
from configs.style import SIGNED, VALUES, MapStyle, new_figure, picture_style
from data_prep.store.reader import Store
from forecast.plotting.projections import coastline
from forecast.training.tracking.git import git_commit
from sphere_ops.memory import keep_freed_memory
from sphere_ops.parallel.fields import area_mean

Array = NDArray[np.float64]
SEASONS = {"December to February": (12, 1, 2), "June to August": (6, 7, 8)}
_GRAVITY = 9.80665
_DAY = 4  # states of a day
_BLOCK = 32  # states that are read at once
_MM = 1000.0


@dataclass(frozen=True)
class ModelClimate:
    """Climate of a store.

    Attributes:
        pressures: Levels of the wind, hPa, (p,).
        latitude: Degrees north, (nlat,).
        longitude: Degrees east, (nlon,).
        wind: Zonal mean of u, m s-1, of each season, (p, nlat).
        tracks: Standard deviation of the change of z500 in a day over the square root of 2, m, of
            each season, (nlat, nlon).
        rain: Mean precipitation, mm a day, (nlat, nlon).
        months: Global means of t2m, K, precipitation, mm a day, and sp, Pa, of each month of the
            run, (month, 3).
        first_month: Calendar month of the first of them.
    """

    pressures: list[int]
    latitude: Array
    longitude: Array
    wind: dict[str, Array]
    tracks: dict[str, Array]
    rain: Array
    months: Array
    first_month: int

    def numbers(self) -> dict[str, Any]:
        """Return what the documentation quotes."""
        top = self.pressures.index(200)
        north, south = self.latitude > 10, self.latitude < -10
        by_month = [
            self.months[(np.arange(len(self.months)) + self.first_month - 1) % 12 == m].mean(0)
            for m in range(12)
        ]
        years = self.months[: len(self.months) // 12 * 12].reshape(-1, 12, 3).mean(1)
        jets: dict[str, Any] = {}
        for season, wind in self.wind.items():
            for name, half in (("north", north), ("south", south)):
                at = np.argmax(np.where(half, wind[top], -np.inf))
                jets[f"{season}, {name}"] = [float(wind[top, at]), float(self.latitude[at])]
        storms = {
            f"{season}, {name}": float(field[half].max())
            for season, field in self.tracks.items()
            for name, half in (("north", north), ("south", south))
        }
        return {
            "months": len(self.months),
            "jets_at_200_hPa_m_s_latitude": jets,
            "global_t2m_by_month_K": [float(x[0]) for x in by_month],
            "global_rain_by_year_mm_day": [float(x[1]) for x in years],
            "global_surface_pressure_by_year_Pa": [float(x[2]) for x in years],
            "largest_rain_mm_day": float(self.rain.max()),
            "largest_storm_track_m": storms,
        }


def climate(store: Store) -> ModelClimate:
    """Compute the climate of all states of a store."""
    names = list(store.channel_names)
    pressures = sorted(int(n[1:]) for n in names if n[0] == "u" and n[1:].isdigit() and n != "u10")
    taken = [names.index(n) for n in (*(f"u{p}" for p in pressures), "z500", "t2m", "tp", "sp")]
    month = store.time.astype("M8[M]").astype(int)
    of_year, position = month % 12 + 1, month - month[0]
    shape = store.grid.shape
    wind = {season: np.zeros((len(pressures), shape[0])) for season in SEASONS}
    tracks = {season: np.zeros(shape) for season in SEASONS}
    count: dict[str, int] = dict.fromkeys(SEASONS, 0)
    rain, months = np.zeros(shape), np.zeros((int(position[-1]) + 1, 3))
    last_day = np.empty((0, *shape))
    for start in range(0, len(store.time), _BLOCK):
        block = store.states(0, start, min(_BLOCK, len(store.time) - start))
        states = block[:, taken].double().numpy()
        at = np.arange(start, start + len(states))
        means = area_mean(block[:, taken[-3:]].double(), store.grid).numpy()
        np.add.at(months, position[at], means * (1, _MM * _DAY, 1))
        rain += states[:, -2].sum(0) * _MM * _DAY / len(store.time)
        height = np.concatenate([last_day, states[:, -4] / _GRAVITY])
        changes, zonal = height[_DAY:] - height[:-_DAY], states[-len(height) + _DAY :, :-4].mean(-1)
        last_day = height[-_DAY:]
        for season, chosen in SEASONS.items():
            inside = np.isin(of_year[at[-len(changes) :]], chosen)
            wind[season] += zonal[inside].sum(0)
            tracks[season] += (changes[inside] ** 2).sum(0) / 2
            count[season] += int(np.count_nonzero(inside))
    months /= np.bincount(position)[:, None]
    return ModelClimate(
        pressures,
        store.grid.latitude.double().numpy(),
        store.grid.longitude.double().numpy(),
        {s: x / count[s] for s, x in wind.items()},
        {s: np.sqrt(x / count[s]) for s, x in tracks.items()},
        rain,
        months,
        int(of_year[0]),
    )


@picture_style()
def draw(found: ModelClimate, path: Path) -> None:
    """Draw the zonal-mean wind, the storm tracks and the precipitation."""
    figure = new_figure(10.5, 7.5)
    axes = figure.subplots(3, 2)
    for ax, (season, wind) in zip(axes[0], found.wind.items(), strict=True):
        levels = np.arange(-50, 51, 5)
        image = ax.contourf(
            found.latitude, found.pressures, wind, levels, cmap=SIGNED.colours, extend="both"
        )
        ax.contour(found.latitude, found.pressures, wind, levels, colors=SIGNED.graticule,
                   linewidths=0.4)  # fmt: skip
        ax.set(title=f"Zonal-mean wind, {season}", ylim=(925, 100), ylabel="pressure (hPa)",
               xlabel="latitude (°)", xticks=range(-90, 91, 30))  # fmt: skip
    figure.colorbar(image, ax=axes[0], label="m s⁻¹", shrink=0.9)
    top = max(float(x.max()) for x in found.tracks.values())
    for ax, (season, field) in zip(axes[1], found.tracks.items(), strict=True):
        image = _map(ax, found, field, VALUES, top)
        ax.set_title(f"Storm tracks, {season}")
    figure.colorbar(image, ax=axes[1], label="24-h change of z500 (m)", shrink=0.9)
    image = _map(axes[2, 0], found, found.rain, VALUES, 12.0)
    axes[2, 0].set_title("Precipitation")
    figure.colorbar(image, ax=axes[2, 0], label="mm a day", extend="max", shrink=0.9)
    means = found.months[:, 0]
    first = 1 + (found.first_month - 1) / 12
    axes[2, 1].plot(first + np.arange(len(means)) / 12, means)
    axes[2, 1].set(title="Global mean of t2m", xlabel="year of the run", ylabel="K")
    figure.savefig(path, dpi=75)


def _map(ax: Axes, found: ModelClimate, field: Array, style: MapStyle, top: float) -> QuadMesh:
    lines = [piece for line in coastline() for piece in (line, np.full((1, 2), np.nan))]
    x, y = np.concatenate(lines).T
    half = field.shape[1] // 2
    shifted = np.roll(field, half, axis=1)
    image = ax.pcolormesh(
        found.longitude - found.longitude[half],
        found.latitude,
        shifted,
        cmap=style.colours,
        vmin=0,
        vmax=top,
    )
    ax.plot(x, y, color=style.graticule, linewidth=0.5)
    ax.set(xlim=(-180, 180), ylim=(-90, 90), xticks=range(-180, 181, 90), yticks=range(-90, 91, 45))
    return image


def main() -> None:
    """Compute and draw the climate of a store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    store = Store(args.store)
    found = climate(store)
    content = found.numbers() | {
        "store": {"source": store.provenance, "sha256": digest(store)},
        "commit": git_commit(),
        "machine": machine(),
    }
    print(json.dumps(found.numbers(), indent=1))
    if args.json:
        write(args.json, content)
    if args.figure:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
