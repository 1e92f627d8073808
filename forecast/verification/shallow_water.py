"""Shallow-water flow: the integrands of its conserved totals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sphere_ops.grid import EARTH_GRAVITY, EARTH_ROTATION, Grid
from sphere_ops.harmonics.winds import winds

Array = NDArray[np.floating[Any]]

CHANNELS = ("geopotential", "vorticity", "divergence")
"""Channels that describe a flow."""


class ShallowWaterFlow(NamedTuple):
    """Flow on a sphere that has the rotation and the gravity of the Earth.

    Attributes:
        layer: Geopotential φ of the layer, m² s⁻², (k, nlat, nlon).
        surface: Geopotential Φ_s of the surface, (nlat, nlon).
        kinetic: Kinetic energy V²/2, m² s⁻², (k, nlat, nlon).
        vorticity: Absolute vorticity ζ + f, s⁻¹, (k, nlat, nlon).
    """

    layer: Array
    surface: Array
    kinetic: Array
    vorticity: Array

    @classmethod
    def of(
        cls,
        geopotential: Array,
        vorticity: Array,
        divergence: Array,
        *,
        grid: Grid,
        radius: float,
        orography: Array | None = None,
    ) -> ShallowWaterFlow:
        """Return the flow of states.

        Args:
            geopotential: Geopotential of the free surface, m² s⁻², (k, nlat, nlon).
            vorticity: Relative vorticity, s⁻¹, likewise.
            divergence: Divergence, s⁻¹, likewise.
            grid: Grid.
            radius: Radius of the sphere, m.
            orography: Height of the surface, m, (nlat, nlon); None for a flat one.
        """
        surface = np.zeros(grid.shape)
        if orography is not None:
            surface = EARTH_GRAVITY * orography.astype(np.float64)
        rotational, divergent = (
            torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
            for x in (vorticity, divergence)
        )
        east, north = winds(rotational, divergent, grid, radius)
        coriolis = 2 * EARTH_ROTATION * np.sin(np.radians(grid.latitude.numpy()))[:, None]
        return cls(
            layer=geopotential - surface,
            surface=surface,
            kinetic=(east.square() + north.square()).numpy() / 2,
            vorticity=rotational.numpy() + coriolis,
        )

    @property
    def energy(self) -> Array:
        """Total energy times gravity, φ(V²/2 + Φ_s) + φ²/2, m⁴ s⁻⁴."""
        return self.layer * (self.kinetic + self.surface) + self.layer**2 / 2

    @property
    def potential_enstrophy(self) -> Array:
        """Potential enstrophy over gravity, (ζ + f)²/(2φ), m⁻²."""
        return self.vorticity**2 / (2 * self.layer)
