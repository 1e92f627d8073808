"""Forced climate: unstable jets, solar heating, mountains and drag.

The zonal means of vorticity and height relax towards a balanced jet in each hemisphere. The
strength of the jets follows the seasons. The jets are barotropically unstable and shed eddies,
which are damped by drag and diffusion only. Solar heating follows the sun and drives a daily tide.
The design follows the data set planetswe of The Well, which has daily and seasonal heating over
orography.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from data_prep.shallow_water.equations import GEOPOTENTIAL, VORTICITY, ShallowWater
from data_prep.shallow_water.planet import Physics, Planet
from data_prep.solvers.truncation import quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import RealSHT
from sphere_ops.insolation import SOLAR_CONSTANT, insolation

# Mountains: latitude and longitude (degrees), height (m), half widths north and east (degrees).
# They resemble the large mountains of the Earth, and are smooth enough for truncations from T21 on.
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
_KEPT = 16  # cached times: steps share their ends, and threads are at different times


def mountains(grid: Grid) -> Tensor:
    """Return the height of the built-in mountains, m, (nlat, nlon)."""
    latitude, longitude = grid.latitude[:, None], grid.longitude[None, :]
    height = torch.zeros(grid.shape, dtype=torch.float64)
    for lat, lon, top, north, east in _MOUNTAINS:
        around = (longitude - lon + 180) % 360 - 180
        height += top * torch.exp(-(((latitude - lat) / north) ** 2) - (around / east) ** 2)
    return height


class Climate:
    """Forcing of the three fields as a function of time.

    Args:
        lmax: Truncation, exclusive.
        planet: Planet.
        orography: Coefficients of the surface geopotential, m² s⁻².
        mean_geopotential: Mean geopotential of the free surface, m² s⁻².
        jet_speed: Annual mean of the peak wind of each jet, m s⁻¹.
        jet_latitude: Latitude of the jets, degrees north and south.
        jet_width: e-folding half width of the jets, degrees.
        season: Relative change of the jets between the annual mean and winter or summer.
        relaxation: Relaxation rate of the zonal means towards the jets, s⁻¹.
        heating: Tendency of the geopotential, m² s⁻³, at points where the insolation exceeds its
            daily mean by the global mean.
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
        # The balanced height is quadratic in the jets, so that three states determine it.
        solver = ShallowWater(lmax, Physics(planet, mean_geopotential))
        summer, year, winter = (_balanced(solver, still + c * moving) for c in (-1, 0, 1))
        self._vorticity = still, moving
        self._layer = year, (winter - summer) / 2, (winter + summer) / 2 - year
        self._tendency_at = lru_cache(maxsize=_KEPT)(self._tendency)

    def __call__(self, time: float) -> Tensor:
        """Return the tendency at a time in s since 1970, (3, lmax, lmax)."""
        return self._tendency_at(time)

    def target(self, time: float) -> Tensor:
        """Return the balanced state of the jets over the surface at a time, (3, lmax, lmax)."""
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
        """Return insolation minus its daily mean, in units of its global mean, (nlat, nlon)."""
        moment = np.datetime64("1970-01-01", "ns") + np.timedelta64(round(time * 1e9), "ns")
        now, day = (insolation(np.array([moment]), self._grid, daily) for daily in (False, True))
        return (now - day)[0] / (SOLAR_CONSTANT / 4)

    def _jet_vorticity(self, planet: Planet, speed: float, latitude: float, width: float) -> Tensor:
        """Return the coefficients of the vorticity of u = U exp(−((φ − φ₀)/w)²)."""
        phi = torch.deg2rad(self._grid.latitude)
        distance = (phi - math.radians(latitude)) / math.radians(width)
        wind = speed * torch.exp(-(distance**2))
        # ζ = −(1/(a cos φ)) ∂(u cos φ)/∂φ
        vorticity = wind * (torch.tan(phi) + 2 * distance / math.radians(width)) / planet.radius
        coeffs = self._analysis(vorticity[:, None].expand(self._grid.shape).contiguous())
        coeffs[0] = 0  # the quadrature of a sharp jet need not give mean 0
        return coeffs


def _balanced(solver: ShallowWater, vorticity: Tensor) -> Tensor:
    state = torch.zeros(3, *vorticity.shape, dtype=vorticity.dtype)
    state[VORTICITY] = vorticity
    return solver.balanced_geopotential(state)
