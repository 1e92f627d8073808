"""Base classes of layers and branches, whose tables are made before `torch.compile` traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sphere_ops.engine.convolution import convolve
from sphere_ops.engine.plan import ConvolutionSpec, layouts, local_symbols
from sphere_ops.engine.tables import table_set
from sphere_ops.grid import Grid, whole_number
from sphere_ops.kernels.filters import Filter
from sphere_ops.parallel.fields import check_on_grid
from sphere_ops.parallel.mesh import current
from sphere_ops.precision import get_product_precision


class Layer(nn.Module):
    """Sum of branches on one pair of grids, through one pair of Fourier transforms.

    Tables must exist before `torch.compile` traces the layer. The constructor makes them.

    Attributes:
        in_channels: Number of input channels, c.
        out_channels: Number of output channels, o.
        grid: Grid of the input.
        grid_out: Grid of the output.
        spec: Description of the convolution.
        combine_real: Matrix from filter weights to those of the real symbols, (k', k).
        combine_imag: Matrix from filter weights to those of the imaginary symbols, (k', k).
    """

    combine_real: Tensor
    combine_imag: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, grid: Grid, grid_out: Grid | None
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if whole_number(name, value) < 1:
                raise ValueError(f"{name} {value}; expected 1 or more")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.grid, self.grid_out = grid, grid_out or grid

    def summands(self) -> Iterable[Branch]:
        """Return the branches of the sum."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x of shape (b, c, nlat, nlon), any floating-point type."""
        check_on_grid(x, self.grid)
        if x.dim() != 4:
            raise ValueError(
                f"input of shape {tuple(x.shape)}; expected (batch, channel, nlat, nlon)"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"input of {x.shape[1]} channels; expected {self.in_channels}, the in_channels of "
                "the layer"
            )
        dtype = working_dtype(x)
        branches = list(self.summands())
        matrices = [b.degree_matrices() for b in branches if b.lmax]
        weights = [b.filter_weights(dtype) for b in branches if b.filter is not None]
        return self._convolve(x, _sum_of_matrices(matrices, self.in_channels), weights)

    def extra_repr(self) -> str:
        """Show the channels and the grids in the printed module."""
        grids = f"{self.grid}" if self.grid_out == self.grid else f"{self.grid} to {self.grid_out}"
        return f"{self.in_channels}, {self.out_channels}, {grids}"

    def _prepare(self, lmax: int, filters: Iterable[Filter]) -> None:
        """Set the spec, and make the tables that must exist before tracing."""
        self.spec = ConvolutionSpec(self.grid, self.grid_out, lmax, tuple(filters))
        self._tables = table_set(self.spec.name)
        layouts(self.spec, current().latitude)
        combine_real = combine_imag = torch.empty(0, 0)
        if self.spec.filters:
            s = local_symbols(self.spec, current().latitude)
            combine_real, combine_imag = s.combine_real, s.combine_imag
        # Entries are 1, 0 and −1, exact in every type; buffers follow the device of the weights.
        self.register_buffer("combine_real", combine_real, persistent=False)
        self.register_buffer("combine_imag", combine_imag, persistent=False)

    def _convolve(self, x: Tensor, kappa: Tensor | None, weights: list[Tensor]) -> Tensor:
        """Return the sum of the branches on x (b, c, nlat, nlon), in the type of x.

        Args:
            x: Input of any floating-point type.
            kappa: Matrices of all degrees, (lmax, c, o); None if no branch has any.
            weights: Filter weights of every branch with filters, (o, c, k).
        """
        dtype = working_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            w_real = w_imag = x.new_empty(0, x.shape[1])
            if weights:
                weight = torch.cat([w.to(dtype) for w in weights], dim=2)
                w_real = _symbol_weights(weight, self.combine_real)
                w_imag = _symbol_weights(weight, self.combine_imag)
            y, *_ = convolve(
                x.to(dtype),
                (x.new_empty(0) if kappa is None else kappa).to(dtype).contiguous(),
                w_real.to(dtype),  # without local branches it still has the type of x
                w_imag.to(dtype),
                self.spec.name,
                get_product_precision(),
            )
        return y.to(x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Drop the tables of the previous device and dtype when the layer is moved."""
        super()._apply(fn, recurse)
        self._tables.follow(fn)
        return self


class Branch(Layer):
    """Linear operator of a block: a matrix per degree, local filters, or both.

    A subclass creates its weights, and implements `degree_matrices`, `filter_weights` or both. See
    the docstring of `sphere_ops.branches`.

    Attributes:
        lmax: Degrees with a matrix, exclusive; 0 if there are none.
        filter: Settings that identify the local filters; None if there are none.
        k: Number of filters.
        changes_grid: True if the output may be on another grid.
    """

    changes_grid: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        grid_out: Grid | None = None,
        *,
        lmax: int = 0,
        filter: Filter | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, grid, grid_out)
        if not self.changes_grid and self.grid_out != grid:
            raise ValueError(
                f"{type(self).__name__} from {grid} to {grid_out}; expected an output on the grid "
                "of the input: use the spectral or the integral branch to change the grid"
            )
        self.lmax, self.filter = lmax, filter
        self._prepare(lmax, [] if filter is None else [filter])
        self.k = self.combine_real.shape[1]

    def summands(self) -> Iterable[Branch]:
        """Return the branch itself."""
        return [self]

    def degree_matrices(self) -> Tensor:
        """Return the matrices of all degrees, (lmax, c, o).

        Complex matrices have the shape (lmax, 2c, 2o), of real and imaginary parts.
        """
        raise NotImplementedError

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Return the weights of the filters in a type, (o, c, k)."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new weights with which the output has about the variance of the input."""
        raise NotImplementedError


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the type of computation: float64 if x has that type, else float32."""
    if not x.is_floating_point():
        raise ValueError(f"input of type {x.dtype}; expected a real floating-point type")
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _sum_of_matrices(matrices: list[Tensor], channels: int) -> Tensor | None:
    """Return the sum of the degree matrices of several branches, whose lmax may differ."""
    if len(matrices) < 2:
        return matrices[0] if matrices else None
    if any(m.shape[1] != channels for m in matrices):  # some have real and imaginary parts
        matrices = [m if m.shape[1] != channels else _doubled(m) for m in matrices]
    lmax = max(len(m) for m in matrices)
    return torch.stack([pad(m, (0, 0, 0, 0, 0, lmax - len(m))) for m in matrices]).sum(dim=0)


def _doubled(matrices: Tensor) -> Tensor:
    """Convert real matrices (lmax, c, o) to those of real and imaginary parts, (lmax, 2c, 2o)."""
    zero = torch.zeros_like(matrices)
    rows = torch.cat((matrices, zero), dim=2), torch.cat((zero, matrices), dim=2)
    return torch.cat(rows, dim=1)


def _symbol_weights(weight: Tensor, combine: Tensor) -> Tensor:
    """Return the weights (k'·o, c) of the symbols from those of the filters, (o, c, k)."""
    # Not a matrix product: in a backward pass inside its context, autocast would round it.
    mixed = (combine.to(weight)[:, None, None] * weight).sum(dim=-1)  # (k', o, c)
    return mixed.flatten(0, 1)
