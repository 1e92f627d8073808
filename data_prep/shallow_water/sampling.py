"""Sampling of states of the solver as fields on any grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY
from data_prep.shallow_water.planet import Physics
from data_prep.solvers.sampling import FieldSampler
from sphere_ops.grid import Grid

CHANNELS = ("geopotential", "vorticity", "divergence", "eastward_wind", "northward_wind")
"""Variables that a state can be sampled as."""


class Sampler:
    """Spectral sampling of states on any grid, without interpolation.

    Degrees and orders that the grid cannot resolve are left out.

    Args:
        grid: Grid of the fields.
        lmax: Truncation of the states, exclusive.
        variables: Names of the variables, from CHANNELS.
    """

    def __init__(self, grid: Grid, lmax: int, variables: Sequence[str]) -> None:
        self.variables = tuple(variables)
        self._fields = FieldSampler(grid, lmax)

    def scalar(self, coeffs: Tensor) -> Tensor:
        """Return the field (..., nlat, nlon) of coefficients (..., lmax, lmax)."""
        return self._fields.scalar(coeffs)

    def __call__(self, state: Tensor, physics: Physics) -> Tensor:
        """Return fields (..., channel, nlat, nlon), in SI units, of states (..., 3, lmax, lmax)."""
        vorticity, divergence, layer = (
            state[..., i, :, :] for i in (VORTICITY, DIVERGENCE, GEOPOTENTIAL)
        )
        surface = layer if physics.orography is None else layer + physics.orography.to(layer)
        scalars = {"geopotential": surface, "vorticity": vorticity, "divergence": divergence}
        names = [name for name in self.variables if name in scalars]
        fields: dict[str, Tensor] = {}
        if names:
            stacked = self.scalar(torch.stack([scalars[name] for name in names], dim=-3))
            fields |= dict(zip(names, stacked.unbind(-3), strict=True))
        if "geopotential" in fields:
            fields["geopotential"] = fields["geopotential"] + physics.mean_geopotential
        if len(names) < len(self.variables):
            wind = self._fields.wind(vorticity, divergence, physics.planet.radius)
            fields["eastward_wind"], fields["northward_wind"] = wind.unbind(-3)
        return torch.stack([fields[name] for name in self.variables], dim=-3)
