"""Conventions of scores: area weights, persistence, and the climatology of anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sphere_ops.grid import Grid

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Conventions:
    """Choices that differ between evaluations.

    Attributes:
        name: Name in the scores file.
        description: Sentence for the scores file.
        cell_bounds: True for area weights between the midpoints of the latitudes, False for those
            of the grid's exact quadrature.
        persistent_anomaly: True if persistence keeps the anomaly of the initial state, False if it
            keeps the state.
        by_day: True if the climatology must be by day of the year and hour.
        fractions: True if a point counts by its fraction of land or sea, False if all of it counts
            where the fraction is more than one half.
    """

    name: str
    description: str
    cell_bounds: bool
    persistent_anomaly: bool
    by_day: bool
    fractions: bool

    def area_weights(self, grid: Grid) -> Array:
        """Return the weight of each point, (nlat, 1); the grid sums to 1."""
        if not self.cell_bounds:
            return grid.area_weights.numpy()
        weights = cell_weights(np.radians(grid.latitude.numpy()))
        return weights[:, None] / (weights.sum() * grid.nlon)


DEFAULT = Conventions(
    "default",
    "area weights of the grid's quadrature; persistence keeps the anomaly of the initial state "
    "where there is a climatology",
    cell_bounds=False,
    persistent_anomaly=True,
    by_day=False,
    fractions=False,
)
WEATHERBENCH2 = Conventions(
    "weatherbench2",
    "those of WeatherBench 2 (arXiv 2308.15560): area weights between the midpoints of the "
    "latitudes; persistence keeps the initial state; climatology by day of the year and hour; land "
    "and sea by the fraction of each point",
    cell_bounds=True,
    persistent_anomaly=False,
    by_day=True,
    fractions=True,
)
CONVENTIONS = {conventions.name: conventions for conventions in (DEFAULT, WEATHERBENCH2)}


def conventions_named(name: str) -> Conventions:
    """Return conventions by name.

    Raises:
        ValueError: If there are none of this name.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"unknown conventions {name!r}; expected {' or '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def cell_weights(latitude: Array) -> Array:
    """Return the weight of each row by WeatherBench 2, of mean 1, (nlat,).

    The cell of a row ends halfway to the next one, those of the first and last row at the poles;
    its weight is the integral of the cosine of latitude over it.

    Args:
        latitude: Latitudes in radians, in either order, (nlat,).
    """
    middle = (latitude[:-1] + latitude[1:]) / 2
    pole = np.copysign(np.pi / 2, latitude[0] - latitude[-1])
    area = np.abs(np.diff(np.sin([pole, *middle, -pole])))
    return area / area.mean()
