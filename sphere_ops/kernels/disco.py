"""The integral branch: a kernel on a geodesic disc of fixed angular radius (DISCO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from sphere_ops.grid import Grid, whole_number
from sphere_ops.kernels.filters import BandedFilters, Filter, band_rows

Normalization = Literal["nodal", "modal", "mean", "support", "geometric", "none"]
# The bases, and of how many numbers their kernel shape may consist.
_BASES = {"piecewise linear": (1, 2), "harmonic": (2,), "zernike": (1,), "fourier-bessel": (1, 2)}

# torch-harmonics widens the support by this fraction, against aliasing with the rows' spacing.
_CUTOFF_MARGIN = 1e-3


@dataclass(frozen=True)
class IntegralFilter(Filter):
    """Settings that identify the filters of an integral branch."""

    theta_cutoff: float
    kernel_shape: tuple[int, ...]
    basis_type: str
    normalization: Normalization

    def sample(self, grid: Grid, grid_out: Grid) -> BandedFilters:
        """See `integral_filters`."""
        return integral_filters(
            grid,
            grid_out,
            self.theta_cutoff,
            self.kernel_shape,
            self.basis_type,
            self.normalization,
        )


def integral_filters(
    grid: Grid,
    grid_out: Grid,
    theta_cutoff: float,
    kernel_shape: tuple[int, ...],
    basis_type: str,
    normalization: Normalization = "nodal",
) -> BandedFilters:
    """Filter basis of torch-harmonics, sampled and normalised as its `DiscreteContinuousConvS2`.

    The value of filter k at an input point is ψ_k(r, φ) q, with (r, φ) the polar coordinates of
    that point about the output point and q its quadrature weight.

    Args:
        grid: grid of the input.
        grid_out: grid of the output.
        theta_cutoff: radius of the kernel, radians.
        kernel_shape: radial (and angular) number of basis functions.
        basis_type: filter basis of torch-harmonics: "piecewise linear", "harmonic", "zernike" or
            "fourier-bessel".
        normalization: `basis_norm_mode` of torch-harmonics.
    """
    from torch_harmonics.filter_basis import get_filter_basis

    basis = get_filter_basis(kernel_shape=kernel_shape, basis_type=basis_type)
    cutoff = (1 + _CUTOFF_MARGIN) * theta_cutoff
    first, band = band_rows(grid, grid_out, cutoff)
    size = basis.kernel_size
    values = torch.zeros(size, grid_out.nlat, band, grid.nlon, dtype=torch.float64)
    inside = torch.zeros(size, grid_out.nlat, band, grid.nlon, dtype=torch.bool)
    longitude = 2 * math.pi / grid.nlon * torch.arange(grid.nlon, dtype=torch.float64)
    for row in range(grid_out.nlat):
        theta = grid.colatitude[first[row] : first[row] + band, None]
        r, phi = _polar_coordinates(grid_out.colatitude[row], theta, longitude)
        index, support = basis.compute_support_vals(r, phi, r_cutoff=cutoff)
        k, h, w = index.unbind(1)
        values[k, row, h, w] = support.to(values.dtype)
        inside[k, row, h, w] = True
    rows = first[:, None] + torch.arange(band)
    quadrature = grid.area_weights[rows, 0][..., None].expand(values.shape[1:])
    values = _normalize(
        values, inside, quadrature, theta_cutoff, normalization, basis.isotropic_mask
    )
    return BandedFilters(first, values * quadrature)


def check_settings(
    kernel_shape: int | Sequence[int], basis_type: str, normalization: str
) -> tuple[int, ...]:
    """The kernel shape as a tuple, or a ValueError if no filters are named by the settings."""
    if basis_type not in _BASES:
        raise ValueError(f"basis_type {basis_type!r}; expected one of {', '.join(_BASES)}")
    if normalization not in get_args(Normalization):
        modes = ", ".join(get_args(Normalization))
        raise ValueError(f"normalization {normalization!r}; expected one of {modes}")
    numbers = kernel_shape if isinstance(kernel_shape, Sequence) else (kernel_shape,)
    counts = _BASES[basis_type]
    expected = " or ".join(map(str, counts))
    try:
        shape = tuple(whole_number("kernel_shape", n) for n in numbers)
        if len(shape) in counts and min(shape) >= 1:
            return shape
    except ValueError:
        pass
    raise ValueError(
        f"kernel_shape {kernel_shape!r} of the {basis_type} basis; expected {expected} whole "
        f"numbers of 1 or more, such as {(3, 3)[: counts[-1]]}"
    )


def _polar_coordinates(
    theta_out: torch.Tensor, theta: torch.Tensor, longitude: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Geodesic distance from (θ_out, 0) and bearing from south over east, in [0, 2π)."""
    cos_out, sin_out = torch.cos(theta_out), torch.sin(theta_out)
    cos_in, sin_in = torch.cos(theta), torch.sin(theta)
    x = cos_out * torch.cos(longitude) * sin_in - cos_in * sin_out
    y = torch.sin(longitude) * sin_in
    z = torch.cos(longitude) * sin_out * sin_in + cos_out * cos_in
    norm = torch.sqrt(x * x + y * y + z * z)
    phi = torch.atan2(y, x)
    return torch.arccos(z / norm), torch.where(phi < 0, phi + 2 * math.pi, phi)


def _normalize(
    values: torch.Tensor,
    inside: torch.Tensor,
    quadrature: torch.Tensor,
    theta_cutoff: float,
    mode: Normalization,
    isotropic: list[bool],
    eps: float = 1e-9,
) -> torch.Tensor:
    """Scale each filter on each output row by its own discrete integral (or another measure)."""
    weight = inside * quadrature  # (k, h', band, w)
    if mode == "none":
        return values
    if mode == "geometric":
        return values / max((1 - math.cos(theta_cutoff)) / 4, eps)
    support = weight.sum(dim=(2, 3), keepdim=True)
    if mode == "support":
        return values / support.clamp(min=eps)
    bias = torch.zeros_like(support)
    if mode == "modal":  # anisotropic filters have mean zero
        mean = (values * weight).sum(dim=(2, 3), keepdim=True) / support.clamp(min=eps)
        anisotropic = ~torch.as_tensor(isotropic)[:, None, None, None]
        bias = torch.where(anisotropic & (support > eps), mean, bias)
    scale = ((values - bias).abs() * weight).sum(dim=(2, 3), keepdim=True)
    if mode == "mean":
        scale = scale.mean(dim=1, keepdim=True)
    return torch.where(inside, (values - bias) / scale.clamp(min=eps), 0.0)
