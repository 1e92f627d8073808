"""Operators on the sphere: grids, transforms and the three branches; torch only."""

from sphere_ops.block import LocalSphericalConv
from sphere_ops.differential import DifferentialConv
from sphere_ops.grid import Grid, area_mean
from sphere_ops.harmonics import (
    InverseRealSHT,
    InverseRealVectorSHT,
    RealSHT,
    RealVectorSHT,
    gradient,
    inverse_laplacian,
    laplacian,
    power_spectrum,
    vorticity_divergence_from_wind,
    wind_from_vorticity_divergence,
)
from sphere_ops.integral import IntegralConv
from sphere_ops.resample import resample
from sphere_ops.spectral import SpectralConv

__all__ = [
    "DifferentialConv",
    "Grid",
    "IntegralConv",
    "InverseRealSHT",
    "InverseRealVectorSHT",
    "LocalSphericalConv",
    "RealSHT",
    "RealVectorSHT",
    "SpectralConv",
    "area_mean",
    "gradient",
    "inverse_laplacian",
    "laplacian",
    "power_spectrum",
    "resample",
    "vorticity_divergence_from_wind",
    "wind_from_vorticity_divergence",
]
