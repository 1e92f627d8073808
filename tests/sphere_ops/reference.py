"""Reference operators: per zonal wavenumber one dense matrix, applied by einsum.

They are slow and easy to read; the fast path of `sphere_ops` must agree with them. All is plain
torch, so that autograd gives the reference's gradients. Letters: b batch, c channel in, o channel
out, h row in, i row out, w column, l degree, m signed wavenumber, k basis function.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import sph_legendre_p
from torch import Tensor, nn

from sphere_ops import DifferentialConv, IntegralConv, LocalSphericalConv, SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.kernels.filters import BandedFilters


def convolve(layer: nn.Module, x: Tensor, grid: Grid, grid_out: Grid) -> Tensor:
    """Return the expected output (b, o, nlat_out, nlon_out) of a layer for x (b, c, nlat, nlon)."""
    if isinstance(layer, LocalSphericalConv):
        return sum(convolve(branch, x, grid, grid_out) for branch in layer.branches.values())
    spectrum = torch.fft.fft(x, norm="forward")  # (b, c, h, m)
    out = spectrum.new_zeros(len(x), len(layer.weight), *grid_out.shape)
    for m in wavenumbers(grid, grid_out):
        if isinstance(layer, SpectralConv):
            matrix = spectral_matrix(layer, grid, grid_out, m)
        else:
            matrix = local_matrix(layer, grid, grid_out, m)
        out[..., m] = torch.einsum("ocih,bch->boi", matrix, spectrum[..., m])
    return torch.fft.ifft(out, norm="forward").real


def wavenumbers(grid: Grid, grid_out: Grid) -> range:
    """Return all wavenumbers for equal nlon; otherwise those that both grids resolve."""
    nlon, nlon_out = grid.nlon, grid_out.nlon
    if nlon == nlon_out:
        return range(-(nlon // 2), (nlon + 1) // 2)
    highest = (min(nlon, nlon_out) - 1) // 2
    return range(-highest, highest + 1)


def spectral_matrix(layer: SpectralConv, grid: Grid, grid_out: Grid, m: int) -> Tensor:
    """Return A_m = Σ_l P_lm(i) κ_l P_lm(h) 2π q_h, (o, c, i, h), without the Nyquist order.

    κ of −m is the conjugate, so that real fields stay real.
    """
    kappa = torch.view_as_complex(layer.weight) if layer.complex else layer.weight + 0j  # (o, c, l)
    if m < 0:
        kappa = kappa.conj()
    if 2 * abs(m) == grid.nlon:
        kappa = 0 * kappa
    synthesis = legendre(grid_out, layer.lmax, abs(m))  # (l, i)
    analysis = legendre(grid, layer.lmax, abs(m)) * quadrature(grid)  # (l, h)
    projection = torch.einsum("li,lh->lih", synthesis, analysis)
    return torch.einsum("ocl,lih->ocih", kappa.to(torch.complex128), projection + 0j)


def local_matrix(
    layer: IntegralConv | DifferentialConv, grid: Grid, grid_out: Grid, m: int
) -> Tensor:
    """Return A_m = Σ_k W_k ψ̂_k, (o, c, i, h), with ψ the filters at the input points.

    y(i, w') = Σ_hw ψ(i, h, w − w') x(h, w) turns every wavenumber by the conjugate transform of ψ.
    """
    weight, filters = layer.weight, layer.filter.sample(grid, grid_out)
    if isinstance(layer, DifferentialConv):
        powers = torch.tensor([1, 1, 2, 2, 2], dtype=torch.float64)[: layer.k]
        weight = weight * layer.length_scale**powers
    longitude = 2 * math.pi / grid.nlon * torch.arange(grid.nlon, dtype=torch.float64)
    turn = torch.polar(torch.ones_like(longitude), m * longitude)  # e^{imλ}
    symbol = (dense(filters, grid) + 0j) @ turn  # (k, i, h)
    return torch.einsum("ock,kih->ocih", weight.to(symbol), symbol)


def dense(filters: BandedFilters, grid: Grid) -> Tensor:
    """Return filters at all points of the grid, (k, i, h, w), from those on bands of rows."""
    k, nlat_out, band, nlon = filters.values.shape
    psi = torch.zeros(k, nlat_out, grid.nlat, nlon, dtype=torch.float64)
    for i, first in enumerate(filters.first_row.tolist()):
        psi[:, i, first : first + band] = filters.values[:, i]
    return psi


def analyse(x: Tensor, grid: Grid, lmax: int, mmax: int) -> Tensor:
    """Return c_lm = 2π Σ_h q_h P_lm(h) X_m(h) of x (..., nlat, nlon), (..., lmax, mmax)."""
    spectrum = torch.fft.fft(x, norm="forward")
    orders = [
        spectrum[..., m] @ (legendre(grid, lmax, m) * quadrature(grid) + 0j).mT for m in range(mmax)
    ]
    return torch.stack(orders, dim=-1)


def legendre(grid: Grid, lmax: int, m: int) -> Tensor:
    """Return orthonormal P_lm(cos θ) with the Condon-Shortley phase, (lmax, nlat); 0 for l < m."""
    degrees = np.arange(lmax)[:, None]
    return torch.from_numpy(sph_legendre_p(degrees, m, grid.colatitude.numpy())[0])


def quadrature(grid: Grid) -> Tensor:
    """Return 2π times the weights of ∫ f d cos θ, (nlat,)."""
    return 4 * math.pi * grid.nlon * grid.area_weights[:, 0]
