"""The integral branch: a kernel on a geodesic disc of fixed angular radius (DISCO)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch

from sphere_ops.filters import BandedFilters, band_rows
from sphere_ops.grid import Grid

Normalization = Literal["nodal", "modal", "mean", "support", "geometric", "none"]

# torch-harmonics widens the support by this fraction, against aliasing with the rows' spacing.
_CUTOFF_MARGIN = 1e-3


@lru_cache(maxsize=8)
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
        grid: of the input.
        grid_out: of the output.
        theta_cutoff: radius of the kernel, radians.
        kernel_shape: radial (and angular) number of basis functions.
        basis_type: filter basis of torch-harmonics, "piecewise linear", "morlet" or "zernike".
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
