"""Integral branch: a local convolution with a kernel of fixed angular radius on every grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Branch
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import IntegralFilter, Normalization, check_settings
from sphere_ops.kernels.estimates import check_fit_lmax
from sphere_ops.kernels.fitted_integrals import FittedIntegral


class IntegralConv(Branch):
    """Local integral branch (DISCO): a kernel on a disc of fixed angular radius.

    y(x) = ∫ κ(x, x') u(x') dx' over the disc, κ = Σ_k W_k ψ_k, with the filter bases and the
    normalisation of torch-harmonics' `DiscreteContinuousConvS2`.

    Args:
        in_channels: Number of input channels, c.
        out_channels: Number of output channels, o.
        grid: Grid of the input.
        theta_cutoff: Radius of the disc, radians; it does not change with the grid.
        kernel_shape: Radial (and angular) number of basis functions; one number for "zernike".
        basis_type: "piecewise linear", "harmonic", "zernike" or "fourier-bessel".
        normalization: `basis_norm_mode` of torch-harmonics.
        fit_lmax: Degrees of the fields, exclusive, for all of which the integrals are accurate on
            every grid that holds them, while higher degrees are suppressed; see `FittedIntegral`.
            None for kernels that are sampled at the points of the grid.
        grid_out: Grid of the output; that of the input if not given.
        device: Device of the weights.
        dtype: Type of the weights.

    Attributes:
        weight: (o, c, k), basis functions in the order of torch-harmonics.
    """

    filter: IntegralFilter | FittedIntegral

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        theta_cutoff: float,
        kernel_shape: int | Sequence[int] = (3, 3),
        basis_type: str = "piecewise linear",
        normalization: Normalization = "nodal",
        fit_lmax: int | None = None,
        grid_out: Grid | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = check_settings(kernel_shape, basis_type, normalization)
        if not 0 < theta_cutoff <= math.pi:
            raise ValueError(f"theta_cutoff {theta_cutoff}; expected an angle in (0, π] radians")
        settings = (theta_cutoff, shape, basis_type, normalization)
        filters: IntegralFilter | FittedIntegral = IntegralFilter(*settings)
        if fit_lmax is not None:
            filters = FittedIntegral(*settings, check_fit_lmax(fit_lmax))
        super().__init__(in_channels, out_channels, grid, grid_out, filter=filters)
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels, self.k, device=device, dtype=dtype)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights with which the output has about the variance of the input."""
        self.weight.normal_().div_(math.sqrt(self.in_channels * self.k))

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Return the weights of the filters, (o, c, k)."""
        return self.weight.to(dtype)

    def extra_repr(self) -> str:
        """Show the channels, the grids and the settings in the printed module."""
        f = self.filter
        fitted = f", fit_lmax={f.lmax}" if isinstance(f, FittedIntegral) else ""
        return (
            f"{super().extra_repr()}, theta_cutoff={f.theta_cutoff:.4g}, "
            f"kernel_shape={f.kernel_shape}, basis_type={f.basis_type!r}{fitted}"
        )
