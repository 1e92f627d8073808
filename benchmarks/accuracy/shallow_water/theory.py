"""Theory of the standard tests: exact fields, and speeds of waves."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.shallow_water.linear_waves import coupling
from data_prep.shallow_water.planet import Planet
from sphere_ops.grid import Grid


def cosine_bell(grid: Grid) -> Tensor:
    """Return the bell of Williamson 1 at its start and end, m, (nlat, nlon)."""
    latitude = torch.deg2rad(grid.latitude)[:, None]
    longitude = torch.deg2rad(grid.longitude)[None, :]
    cosine = torch.cos(latitude) * torch.cos(longitude - 1.5 * math.pi)
    distance = torch.arccos(cosine.clamp(-1, 1)) * 3
    return 500 * (1 + torch.cos(math.pi * distance)) * (distance < 1)


def haurwitz_speed(planet: Planet, rate: float, wavenumber: int) -> float:
    """Return the angular speed of a Rossby-Haurwitz wave without divergence, s⁻¹, eastward.

    Haurwitz (1940), as in Williamson et al. (1992), equation 135 ff.

    Args:
        planet: the sphere.
        rate: angular velocity of the solid rotation that carries the wave, s⁻¹.
        wavenumber: zonal; the degree is one more.
    """
    r = wavenumber
    return (r * (3 + r) * rate - 2 * planet.rotation) / ((1 + r) * (2 + r))


def divergent_wave(
    planet: Planet, rate: float, wavenumber: int, polar_depth: float, n: int = 60
) -> tuple[float, NDArray[np.complex128]]:
    """Return speed and fields of the same wave, weak, in a layer of finite depth.

    Solid rotation is rest in a frame that rotates at Ω' = Ω + ω, except for the shape of the layer,
    φ = φ₀ + D cos²φ with D = a²ω(2Ω + ω)/2. Weak waves therefore obey Laplace's tidal equations for
    Ω' with a depth that varies with latitude (cf. Kasahara 1980, J. Atmos. Sci. 37, 917-929). Their
    modes are eigenvectors over n degrees; the wave is the mode with the largest fraction of
    vorticity at its degree.

    Args:
        planet: the sphere.
        rate: angular velocity ω of the solid rotation, s⁻¹.
        wavenumber: zonal, m; the degree is one more.
        polar_depth: φ₀ / g, m.
        n: number of degrees.

    Returns:
        Angular speed, s⁻¹, eastward; vorticity, divergence and geopotential at degrees m, m + 1,
        ..., (3, n).
    """
    matrix, unit = _waves_on_solid_rotation(planet, rate, wavenumber, polar_depth, n)
    values, vectors = np.linalg.eig(matrix * unit / unit[:, None])
    wave = np.argmax(np.abs(vectors[1]) / np.linalg.norm(vectors, axis=0))
    speed = float(rate - values[wave].imag / wavenumber)
    return speed, (unit * vectors[:, wave]).reshape(3, n)


def _waves_on_solid_rotation(
    planet: Planet, rate: float, m: int, polar_depth: float, n: int
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Return the matrix (3n, 3n) of ∂/∂t for ζ, δ, φ at degrees m, m + 1, ..., and its units."""
    a, turning = planet.radius, planet.rotation + rate
    depth, bulge = planet.gravity * polar_depth, a**2 * rate * (2 * planet.rotation + rate) / 2
    degree = np.arange(m, m + n)
    eps = coupling(m + n + 1, m + 1).numpy()[m + 1 : m + n, m]
    one, nothing = np.eye(n), np.zeros((n, n))
    sine = np.diag(eps, 1) + np.diag(eps, -1)  # multiplies by sin φ
    slope = np.diag((degree[1:] + 1) * eps, 1) - np.diag(degree[:-1] * eps, -1)  # cos φ ∂/∂φ
    inverse = np.diag(-(a**2) / (degree * (degree + 1)))  # ∇⁻²
    # Wind times cos φ, u and v, of vorticity and of divergence
    u, v = (-slope @ inverse / a, 1j * m * inverse / a), (1j * m * inverse / a, slope @ inverse / a)
    matrix = np.block([
        [-2 * turning * v[0] / a, -2 * turning * (sine + v[1] / a), nothing],
        [2 * turning * (sine - u[0] / a), -2 * turning * u[1] / a,
         np.diag(degree * (degree + 1) / a**2)],
        [2 * bulge / a * sine @ v[0],
         -depth * one - bulge * (one - sine @ sine) + 2 * bulge / a * sine @ v[1], nothing],
    ])  # fmt: skip
    unit = a * np.sqrt(depth / (degree * (degree + 1)))
    return matrix, np.concatenate((np.ones(2 * n), unit))
