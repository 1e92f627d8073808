"""Operators on the sphere: grids, transforms and the three branches; torch only."""

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.grid import EARTH_RADIUS, Grid
from sphere_ops.harmonics.fill import SmoothFill, smooth_fill
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.resample import resample
from sphere_ops.harmonics.transforms import (
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
from sphere_ops.harmonics.winds import vorticity_divergence, winds
from sphere_ops.parallel.fields import area_mean

__all__ = [
    "EARTH_RADIUS",
    "DifferentialConv",
    "GaussianField",
    "Grid",
    "IntegralConv",
    "InverseRealSHT",
    "InverseRealVectorSHT",
    "LocalSphericalConv",
    "RealSHT",
    "RealVectorSHT",
    "SmoothFill",
    "SpectralConv",
    "area_mean",
    "gradient",
    "inverse_laplacian",
    "laplacian",
    "power_spectrum",
    "resample",
    "smooth_fill",
    "vorticity_divergence",
    "vorticity_divergence_from_wind",
    "wind_from_vorticity_divergence",
    "winds",
]
