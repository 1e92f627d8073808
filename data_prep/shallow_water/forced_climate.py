"""The forced climate: jets that are kept unstable, sunlight, mountains, and drag.

The zonal means of vorticity and height relax to those of a jet in each hemisphere, in balance,
whose strength follows the seasons: the jets are barotropically unstable and shed eddies, which feel
only drag and diffusion. The sun heats the layer where it stands, so that a tide goes round with
the day. It is the shallow-water counterpart of an atmosphere that sunlight keeps unstable; the
planetswe set of The Well, with daily and seasonal heating over relief, is the model for it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from data_prep.shallow_water.equations import GEOPOTENTIAL, VORTICITY, ShallowWater
from data_prep.shallow_water.planet import Physics, Planet, quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT
from sphere_ops.insolation import SOLAR_CONSTANT, insolation

# Latitude and longitude (degrees), height (m), half widths north and east (degrees) of mountains
# roughly where the Earth's large ones are; smooth enough for any truncation from T21 on.
_MOUNTAINS = (
    (45.0, 250.0, 2000.0, 14.0, 9.0),
    (34.0, 88.0, 3500.0, 8.0, 16.0),
    (-22.0, 292.0, 2500.0, 18.0, 6.0),
    (5.0, 30.0, 1000.0, 18.0, 9.0),
    (73.0, 320.0, 2200.0, 8.0, 25.0),
    (-90.0, 0.0, 2500.0, 14.0, 360.0),
)
_YEAR = 365.2425 * 86400.0
_SOLSTICE = -10 * 86400.0  # s since 1970: 22 December, when the northern jet is strongest
_KEPT = 16  # times: the end of a step is the start of the next, and threads are not in step


def mountains(grid: Grid) -> Tensor:
    """Height of the surface, m, (nlat, nlon)."""
    latitude, longitude = grid.latitude[:, None], grid.longitude[None, :]
    height = torch.zeros(grid.shape, dtype=torch.float64)
    for lat, lon, top, north, east in _MOUNTAINS:
        around = (longitude - lon + 180) % 360 - 180
        height += top * torch.exp(-(((latitude - lat) / north) ** 2) - (around / east) ** 2)
    return height


class Climate:
    """The forcing of the three fields at a time.

    Args:
        lmax: truncation, exclusive.
        planet: the sphere.
        orography: coefficients of the surface geopotential, m² s⁻².
        mean_geopotential: of the free surface, m² s⁻².
        jet_speed: peak of each jet in the mean of the year, m s⁻¹.
        jet_latitude: degrees north and south.
        jet_width: e-folding half width, degrees.
        season: share by which the jets are stronger in winter and weaker in summer.
        relaxation: rate of the zonal means towards the jets, s⁻¹.
        heating: tendency of the geopotential where the insolation exceeds its mean over the day
            by the global mean, m² s⁻³.
    """

    def __init__(
        self,
        lmax: int,
        planet: Planet,
        orography: Tensor,
        *,
        mean_geopotential: float,
        jet_speed: float,
        jet_latitude: float,
        jet_width: float,
        season: float,
        relaxation: float,
        heating: float,
    ) -> None:
        self._lmax, self._relaxation, self._heating = lmax, relaxation, heating
        self._grid = quadratic_grid(lmax)
        self._analysis = RealSHT(self._grid, lmax=lmax, mmax=lmax)
        self._orography = orography
        north = self._jet_vorticity(planet, jet_speed, jet_latitude, jet_width)
        south = self._jet_vorticity(planet, jet_speed, -jet_latitude, jet_width)
        still, moving = north + south, season * (north - south)
        # The balanced height is quadratic in the jets: three of them give it at every season.
        solver = ShallowWater(lmax, Physics(planet, mean_geopotential))
        summer, year, winter = (_balanced(solver, still + c * moving) for c in (-1, 0, 1))
        self._vorticity = still, moving
        self._layer = year, (winter - summer) / 2, (winter + summer) / 2 - year
        self._tendency_at = lru_cache(maxsize=_KEPT)(self._tendency)

    def __call__(self, time: float) -> Tensor:
        """Tendency (3, lmax, lmax) at a time in s since 1970."""
        return self._tendency_at(time)

    def target(self, time: float) -> Tensor:
        """The state of the jets in balance over the surface, (3, lmax, lmax)."""
        c = math.cos(2 * math.pi * (time - _SOLSTICE) / _YEAR)
        state = torch.zeros(3, self._lmax, self._lmax, dtype=torch.complex128)
        state[VORTICITY] = self._vorticity[0] + c * self._vorticity[1]
        year, first, second = self._layer
        state[GEOPOTENTIAL] = year + c * first + c**2 * second - self._orography
        state[GEOPOTENTIAL, 0, 0] = 0
        return state

    def _tendency(self, time: float) -> Tensor:
        out = torch.zeros(3, self._lmax, self._lmax, dtype=torch.complex128)
        out[:, :, 0] = self._relaxation * self.target(time)[:, :, 0]
        out[GEOPOTENTIAL] += self._heating * self._analysis(self._sunlight(time))
        out[GEOPOTENTIAL, 0, 0] = 0
        return out

    def _sunlight(self, time: float) -> Tensor:
        """Insolation less its mean over the day, in global means of it, (nlat, nlon)."""
        moment = np.datetime64("1970-01-01", "ns") + np.timedelta64(round(time * 1e9), "ns")
        now, day = (insolation(np.array([moment]), self._grid, daily) for daily in (False, True))
        return (now - day)[0] / (SOLAR_CONSTANT / 4)

    def _jet_vorticity(self, planet: Planet, speed: float, latitude: float, width: float) -> Tensor:
        """Coefficients of the vorticity of u = U exp(−((φ − φ₀)/w)²)."""
        phi = torch.deg2rad(self._grid.latitude)
        distance = (phi - math.radians(latitude)) / math.radians(width)
        wind = speed * torch.exp(-(distance**2))
        # ζ = −(1/(a cos φ)) ∂(u cos φ)/∂φ
        vorticity = wind * (torch.tan(phi) + 2 * distance / math.radians(width)) / planet.radius
        coeffs = self._analysis(vorticity[:, None].expand(self._grid.shape).contiguous())
        coeffs[0] = 0  # what the grid sees of a sharp jet need not have mean 0
        return coeffs


def _balanced(solver: ShallowWater, vorticity: Tensor) -> Tensor:
    state = torch.zeros(3, *vorticity.shape, dtype=vorticity.dtype)
    state[VORTICITY] = vorticity
    return solver.balanced_geopotential(state)
