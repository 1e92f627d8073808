"""Base classes of the layers: a convolution prepared before `torch.compile`, and its branches."""

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
    """A sum of branches on one pair of grids, through one pair of Fourier transforms.

    Its tables must exist before `torch.compile` traces it: they are made with the layer.

    Attributes:
        in_channels: number of input channels, c.
        out_channels: number of output channels, o.
        grid: grid of the input.
        grid_out: grid of the output.
        spec: description of the convolution.
        combine_real: filter weights to those of the real symbols, (k', k).
        combine_imag: filter weights to those of the imaginary symbols, (k', k).
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
        """Apply to x of shape (b, c, nlat, nlon), any floating-point type."""
        check_on_grid(x, self.grid)
        if x.dim() != 4:
            raise ValueError(
                f"input of shape {tuple(x.shape)}; expected (batch, channel, nlat, nlon)"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"input of {x.shape[1]} channels; the layer was built for {self.in_channels}"
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
        """Describe the convolution, and make what tracing may not make."""
        self.spec = ConvolutionSpec(self.grid, self.grid_out, lmax, tuple(filters))
        self._tables = table_set(self.spec.name)
        layouts(self.spec, current().latitude)
        combine_real = combine_imag = torch.empty(0, 0)
        if self.spec.filters:
            s = local_symbols(self.spec, current().latitude)
            combine_real, combine_imag = s.combine_real, s.combine_imag
        # Of numbers 1, 0 and −1: exact in every type, and on the device of the weights.
        self.register_buffer("combine_real", combine_real, persistent=False)
        self.register_buffer("combine_imag", combine_imag, persistent=False)

    def _convolve(self, x: Tensor, kappa: Tensor | None, weights: list[Tensor]) -> Tensor:
        """Sum of the branches on x (b, c, nlat, nlon), in the type of x.

        Args:
            x: input of any floating-point type.
            kappa: matrices of all degrees, (lmax, c, o); None without any.
            weights: weights of the filters of every branch that has some, (o, c, k).
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
                w_real.to(dtype),  # of no branch: the type of x still
                w_imag.to(dtype),
                self.spec.name,
                get_product_precision(),
            )
        return y.to(x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Drop the tables made for the device and dtype that the layer leaves."""
        super()._apply(fn, recurse)
        self._tables.follow(fn)
        return self


class Branch(Layer):
    """One linear operator of a block: matrices of degrees, local filters, or both.

    A subclass sets its weights, and returns what it consists of from `degree_matrices`,
    `filter_weights` or both. See the docstring of `sphere_ops.branches`.

    Attributes:
        lmax: degrees that have matrices, exclusive; 0 without any.
        filter: settings that identify the local filters; None without any.
        k: number of the filters.
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
                f"a {type(self).__name__} from {grid} to {grid_out}: its output stays on the grid "
                "of the input; use the spectral or the integral branch to change it"
            )
        self.lmax, self.filter = lmax, filter
        self._prepare(lmax, [] if filter is None else [filter])
        self.k = self.combine_real.shape[1]

    def summands(self) -> Iterable[Branch]:
        """Return the branch itself."""
        return [self]

    def degree_matrices(self) -> Tensor:
        """Matrices of all degrees, (lmax, c, o), or (lmax, 2c, 2o) of real and imaginary parts."""
        raise NotImplementedError

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the filters in a type, (o, c, k)."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new weights, with which the output has about the variance of the input."""
        raise NotImplementedError


def working_dtype(x: Tensor) -> torch.dtype:
    """In what x is computed: float64 for float64, float32 for all others."""
    if not x.is_floating_point():
        raise ValueError(f"input of type {x.dtype}; expected a real floating-point type")
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _sum_of_matrices(matrices: list[Tensor], channels: int) -> Tensor | None:
    """Sum of the degree matrices of several branches, whose lmax may differ."""
    if len(matrices) < 2:
        return matrices[0] if matrices else None
    if any(m.shape[1] != channels for m in matrices):  # of real and imaginary parts
        matrices = [m if m.shape[1] != channels else _doubled(m) for m in matrices]
    lmax = max(len(m) for m in matrices)
    return torch.stack([pad(m, (0, 0, 0, 0, 0, lmax - len(m))) for m in matrices]).sum(dim=0)


def _doubled(matrices: Tensor) -> Tensor:
    """Real matrices (lmax, c, o) as those of real and imaginary parts, (lmax, 2c, 2o)."""
    zero = torch.zeros_like(matrices)
    rows = torch.cat((matrices, zero), dim=2), torch.cat((zero, matrices), dim=2)
    return torch.cat(rows, dim=1)


def _symbol_weights(weight: Tensor, combine: Tensor) -> Tensor:
    """Weights of the symbols from those of the filters: (o, c, k) to (k'·o, c)."""
    # No matrix product: autocast would round it, in a backward pass inside its context.
    mixed = (combine.to(weight)[:, None, None] * weight).sum(dim=-1)  # (k', o, c)
    return mixed.flatten(0, 1)
