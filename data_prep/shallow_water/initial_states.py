"""Initial states of the cases, as coefficients of vorticity, divergence and φ − Φ̄.

The numbers of the standard tests are those of Williamson et al. (1992, J. Comput. Phys. 102,
211-224). The jet is that of Galewsky, Scott and Polvani (2004, Tellus A 56, 429-440). The random
states are those of the SFNO paper (Bonev et al. 2023, arXiv 2306.03838); they are isotropic, and a
seed gives the same low degrees at every truncation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY, ShallowWater
from data_prep.shallow_water.forced_climate import Climate
from sphere_ops.harmonics.transforms import power_spectrum

Values = Mapping[str, float]

_EQUINOX = 80 * 86400.0  # s since 1970
_NOISE_DEGREES = 12


def random(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return independent Gaussian coefficients of degrees 1 to the cutoff for all three fields."""
    planet, phi = solver.physics.planet, solver.physics.mean_geopotential
    state = _gaussian(solver.lmax, values["cutoff"], generator)
    state[:GEOPOTENTIAL] *= values["mach"] * math.sqrt(phi) / planet.radius
    state[GEOPOTENTIAL] *= planet.gravity * values["height_amplitude"]
    return _on_surface(solver, state)


def random_balanced(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return the vorticity of `random`, no divergence, and the height in nonlinear balance."""
    state = random(solver, {**values, "height_amplitude": 0.0}, generator)
    state[DIVERGENCE] = 0
    return _balanced(solver, state)


def cosine_bell(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return a cosine bell of height (Williamson 1) in the wind of `solid_rotation`."""
    latitude, longitude = _coordinates(solver)
    place = math.radians(values["bell_latitude"]), math.radians(values["bell_longitude"])
    cosine = math.sin(place[0]) * torch.sin(latitude) + math.cos(place[0]) * torch.cos(
        latitude
    ) * torch.cos(longitude - place[1])
    share = torch.arccos(cosine.clamp(-1, 1)) / math.radians(values["bell_radius"])
    bell = values["bell_height"] / 2 * (1 + torch.cos(math.pi * share)) * (share < 1)
    vorticity = 2 * values["wind"] / solver.physics.planet.radius * _sine_about_axis(solver)
    fields = (vorticity, torch.zeros_like(vorticity), solver.physics.planet.gravity * bell)
    return solver.coefficients(torch.stack(fields))


def solid_rotation(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return solid rotation about the axis of the planet in balance with the height.

    With the wind u₀ at the equator, Φ = Φ₀ − (aΩu₀ + u₀²/2) s², where s is the sine of the latitude
    about the axis and `mean_height` is Φ₀ / g (Williamson 2 and 5).
    """
    physics, wind = solver.physics, values["wind"]
    planet, sine = physics.planet, _sine_about_axis(solver)
    deviation = -(planet.radius * planet.rotation * wind + wind**2 / 2) * sine**2
    top = planet.gravity * values["mean_height"] - physics.mean_geopotential
    vorticity = 2 * wind / planet.radius * sine
    state = solver.coefficients(torch.stack((vorticity, torch.zeros_like(sine), top + deviation)))
    return _on_surface(solver, state, mean_too=True)


def rossby_haurwitz(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return a Rossby-Haurwitz wave of wavenumber R with the geopotential of Williamson 6."""
    planet = solver.physics.planet
    a, omega = planet.radius, planet.rotation
    w, k, r = values["zonal_rate"], values["wave_rate"], values["wavenumber"]
    if r != int(r) or not 1 <= r < solver.lmax / 2 - 1:
        raise ValueError(
            f"wavenumber {r:g}; expected a whole number that the truncation {solver.lmax} resolves "
            "with its double"
        )
    latitude, longitude = _coordinates(solver)
    c, s = torch.cos(latitude), torch.sin(latitude)
    vorticity = 2 * w * s - k * s * c**r * (r**2 + 3 * r + 2) * torch.cos(r * longitude)
    zonal = w / 2 * (2 * omega + w) * c**2 + k**2 / 4 * c ** (2 * r) * (
        (r + 1) * c**2 + (2 * r**2 - r - 2) - 2 * r**2 / c**2
    )
    first = (
        2
        * (omega + w)
        * k
        / ((r + 1) * (r + 2))
        * c**r
        * ((r**2 + 2 * r + 2) - (r + 1) ** 2 * c**2)
    )
    second = k**2 / 4 * c ** (2 * r) * ((r + 1) * c**2 - (r + 2))
    phi = a**2 * (zonal + first * torch.cos(r * longitude) + second * torch.cos(2 * r * longitude))
    return solver.coefficients(torch.stack((vorticity, torch.zeros_like(phi), phi)))


def jet(solver: ShallowWater, values: Values, generator: np.random.Generator) -> Tensor:
    """Return a balanced mid-latitude jet with a bump of height that triggers its instability.

    A jet in the south is the mirror image of the one in the north.

    Raises:
        ValueError: if the jet reaches a pole or the equator.
    """
    latitude, longitude = _coordinates(solver)
    centre = math.radians(values["jet_latitude"])
    side = math.copysign(1.0, centre)
    half = math.pi / 4 - math.pi / 7
    if not half < abs(centre) < math.pi / 2 - half:
        raise ValueError(
            f"jet_latitude {values['jet_latitude']:g} puts the jet, {math.degrees(2 * half):.1f}° "
            f"wide, on the equator or a pole; expected {math.degrees(half):.1f} to "
            f"{90 - math.degrees(half):.1f} degrees in either hemisphere"
        )
    offset = side * latitude - abs(centre)  # distance towards the pole
    inside = offset.abs() < half
    product = torch.where(inside, offset**2 - half**2, -1.0)
    peak = math.exp(-1 / half**2)
    wind = torch.where(inside, values["wind"] / peak * torch.exp(1 / product), 0.0)
    # ζ = −(1/(a cos φ)) ∂(u cos φ)/∂φ
    slope = -2 * offset / product**2
    vorticity = side * wind * (torch.tan(side * latitude) - slope) / solver.physics.planet.radius
    zero = torch.zeros_like(vorticity)
    state = _balanced(solver, solver.coefficients(torch.stack((vorticity, zero, zero))))

    east = torch.deg2rad(torch.rad2deg(longitude) - values["bump_longitude"] + 180) % (2 * math.pi)
    share_east = (east - math.pi) / math.radians(values["bump_width_longitude"])
    north_of_it = latitude - math.radians(values["bump_latitude"])
    share_north = north_of_it / math.radians(values["bump_width_latitude"])
    shape = torch.exp(-(share_east**2) - share_north**2)
    bump = values["bump_height"] * torch.cos(latitude) * shape
    state[GEOPOTENTIAL] += solver.coefficients(solver.physics.planet.gravity * bump)
    return state


def perturbed_climate(
    solver: ShallowWater, values: Values, generator: np.random.Generator
) -> Tensor:
    """Return the jets of the forced climate at an equinox with weak random vorticity."""
    climate = solver.physics.forcing
    assert isinstance(climate, Climate)
    state = climate.target(_EQUINOX)
    noise = _gaussian(solver.lmax, _NOISE_DEGREES, generator)[0]
    state[VORTICITY] += values["noise"] / power_spectrum(noise).sum().sqrt() * noise
    return state


def _on_surface(solver: ShallowWater, state: Tensor, mean_too: bool = False) -> Tensor:
    """Subtract the surface from the geopotential of the free surface: φ = Φ − Φ_s."""
    orography = solver.physics.orography
    if orography is not None:
        mean = state[GEOPOTENTIAL, 0, 0].clone()
        state[GEOPOTENTIAL] -= orography.to(state)
        if not mean_too:
            state[GEOPOTENTIAL, 0, 0] = mean
    return state


def _gaussian(lmax: int, cutoff: float, generator: np.random.Generator) -> Tensor:
    """Return random coefficients of variance 4π / (L(L+1)), L the cutoff, (3, lmax, lmax).

    Numbers are drawn degree by degree, so that low degrees do not depend on the truncation.
    """
    if cutoff < 2 or cutoff != int(cutoff):
        raise ValueError(f"cutoff {cutoff:g}; expected a whole number of degrees, at least 2")
    state = np.zeros((3, lmax, lmax), dtype=np.complex128)
    degree, order = (x[1:] for x in np.tril_indices(min(lmax, int(cutoff))))
    # Each degree draws 2l + 1 numbers for each of three fields: real parts, then imaginary parts.
    first = 3 * (degree**2 - 1) + np.arange(3)[:, None] * (2 * degree + 1)
    draw = generator.standard_normal(3 * (degree[-1] + 1) ** 2 - 3)
    half = draw / math.sqrt(2)
    wave = half[first + order] + 1j * half[first + order + degree]
    state[:, degree, order] = np.where(order > 0, wave, draw[first])
    return torch.from_numpy(state) * math.sqrt(4 * math.pi / (cutoff * (cutoff + 1)))


def _balanced(solver: ShallowWater, state: Tensor) -> Tensor:
    state = state.to(device=solver.device, dtype=solver.complex_dtype)
    state[VORTICITY, 0, 0] = 0  # the quadrature of a sharp jet need not give mean 0
    state[GEOPOTENTIAL] = solver.balanced_geopotential(state)
    return state


def _coordinates(solver: ShallowWater) -> tuple[Tensor, Tensor]:
    """Return latitude and longitude of the grid of the solver, radians, (nlat, nlon) each."""
    latitude, longitude = torch.meshgrid(
        torch.deg2rad(solver.grid.latitude), torch.deg2rad(solver.grid.longitude), indexing="ij"
    )
    return latitude, longitude


def _sine_about_axis(solver: ShallowWater) -> Tensor:
    """Return the sine of the latitude about the axis of the planet, (nlat, nlon)."""
    return solver.physics.planet.sine_about_axis(solver.grid)
