"""Differential branch: a learned combination of derivatives on the sphere."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sphere_ops.branches.layer import Branch, working_dtype
from sphere_ops.grid import Grid
from sphere_ops.kernels.estimates import check_fit_lmax
from sphere_ops.kernels.filters import Filter
from sphere_ops.kernels.fitted_stencils import FittedFilter
from sphere_ops.kernels.stencils import DifferentialFilter
from sphere_ops.parallel.fields import check_on_grid


class DifferentialConv(Branch):
    """Local differential branch: a learned combination of covariant derivatives.

    Args:
        in_channels: Number of input channels, c.
        out_channels: Number of output channels, o.
        grid: Grid of input and output.
        order: 1 for the gradient, 2 for the second derivatives too; 2 by default, as in the
            configuration of a model.
        length_scale: Unit of length of the derivatives, radians. Fields of this scale then have
            derivatives of order one. It does not change with the grid.
        fit_lmax: Degrees of the fields, exclusive, for all of which the derivatives are accurate
            on every grid that holds them, while higher degrees are suppressed; see
            `fitted_filters`. None for derivatives of polynomials, which are accurate for low
            degrees only, and act on all of them; see `differential_filters`.
        grid_out: Grid of the output; must be that of the input.
        device: Device of the weights.
        dtype: Type of the weights.

    Attributes:
        weight: (o, c, k), k = east, north[, east-east, east-north, north-north].
    """

    changes_grid = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        order: Literal[1, 2] = 2,
        length_scale: float = 1.0,
        fit_lmax: int | None = None,
        grid_out: Grid | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if order not in (1, 2):
            raise ValueError(f"derivatives of order {order}; expected 1 or 2")
        if not 0 < length_scale < math.inf:
            raise ValueError(f"length_scale {length_scale}; expected a positive angle in radians")
        filters: Filter = DifferentialFilter(order)
        if fit_lmax is not None:
            filters = FittedFilter(order, check_fit_lmax(fit_lmax))
        super().__init__(in_channels, out_channels, grid, grid_out, filter=filters)
        self.order, self.length_scale, self.fit_lmax = order, length_scale, fit_lmax
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels, self.k, device=device, dtype=dtype)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights with which fields of the length scale keep about their variance."""
        self.weight.normal_().div_(math.sqrt(self.in_channels * self.k))

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Return the weights of the filters, (o, c, k), for derivatives per radian."""
        first, second = self.weight.to(dtype).tensor_split([2], dim=2)
        return torch.cat((first * self.length_scale, second * self.length_scale**2), dim=2)

    def derivatives(self, x: Tensor) -> Tensor:
        """Return the derivatives of x (b, c, nlat, nlon) per radian, (b, c, k, nlat, nlon)."""
        check_on_grid(x, self.grid)
        unit = torch.eye(self.k, dtype=working_dtype(x), device=x.device)[:, None]  # (k, 1, k)
        fields = x.reshape(-1, 1, *x.shape[-2:])  # (b c, 1, h, w)
        return self._convolve(fields, None, [unit]).unflatten(0, x.shape[:2])

    def extra_repr(self) -> str:
        """Show the channels, the grid and the settings in the printed module."""
        fitted = "" if self.fit_lmax is None else f", fit_lmax={self.fit_lmax}"
        scale = f"length_scale={self.length_scale:.4g}"
        return f"{super().extra_repr()}, order={self.order}, {scale}{fitted}"
