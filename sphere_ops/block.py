"""The branches of a block: one layer each, or any subset of them in parallel through one FFT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sphere_ops.convolution import (
    DifferentialFilter,
    IntegralFilter,
    Spec,
    convolve,
    layout,
    spec_key,
)
from sphere_ops.differential import differential_filters
from sphere_ops.filters import combinations, symbols
from sphere_ops.grid import Grid, check_on_grid, whole_number
from sphere_ops.integral import Normalization, check_settings, integral_filters
from sphere_ops.precision import get_product_precision


class _Convolution(nn.Module):
    """A layer that has named its convolution before `torch.compile` traces it.

    Tracing ignores caches, so that nothing may be made or looked up there.
    """

    _combine_real: Tensor
    _combine_imag: Tensor

    def _prepare(self, spec: Spec, combine_real: Tensor, combine_imag: Tensor) -> None:
        """Keep the spec, its number, and how filter weights combine into those of the symbols."""
        self._spec, self._key = spec, spec_key(spec)
        layout(spec)
        # Of numbers 1, 0 and −1: exact in every type, and on the device of the weights.
        self.register_buffer("_combine_real", combine_real, persistent=False)
        self.register_buffer("_combine_imag", combine_imag, persistent=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Number the spec again: the number is that of one process."""
        super().__setstate__(state)
        self._key = spec_key(self._spec)
        layout(self._spec)


class LocalSphericalConv(_Convolution):
    """Sum of spectral, integral and differential branches, through one pair of FFTs.

    Maps (b, c, nlat, nlon) to (b, o, nlat_out, nlon_out).

    Args:
        in_channels: c.
        out_channels: o.
        grid: of the input.
        branches: the settings of each branch by its name, those of `SpectralConv`,
            `IntegralConv` and `DifferentialConv`; a branch that is not named does not exist.
        grid_out: of the output; the input's if not given. The differential branch cannot change it.
            Columns are matched from the first of each grid on, wherever on the Earth that is.

    Raises:
        ValueError: if no branch is named, or one that does not exist, or its settings are wrong.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        branches: Mapping[str, Mapping[str, Any]],
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        _check_branches(branches)
        self.grid, self.grid_out = grid, grid_out or grid
        self.branches = nn.ModuleDict(
            {
                name: layer(in_channels, out_channels, grid, grid_out=grid_out, **branches[name])
                for name, layer in _LAYERS.items()
                if name in branches
            }
        )
        with torch.no_grad():  # the sum of the branches has the variance of one
            for parameter in self.parameters():
                parameter.div_(math.sqrt(len(self.branches)))
        layers = list(self.branches.values())
        local = [b for b in layers if isinstance(b, IntegralConv | DifferentialConv)]
        lmax = next((b.lmax for b in layers if isinstance(b, SpectralConv)), 0)
        self._prepare(
            Spec(grid, self.grid_out, lmax, tuple(b.filter for b in local)),
            torch.block_diag(*[b._combine_real for b in local]),
            torch.block_diag(*[b._combine_imag for b in local]),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon), any floating-point type."""
        return _apply(x, self, list(self.branches.values()))


class SpectralConv(_Convolution):
    """The global branch: every degree's coefficients mixed by a matrix of their own.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of the input.
        lmax: degrees kept, exclusive.
        complex: complex weights; the layer then commutes with rotations about the axis only.
        grid_out: of the output; the input's if not given.

    Attributes:
        weight: (o, c, lmax), or (o, c, lmax, 2) if complex. It starts real either way.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        lmax: int,
        complex: bool = False,
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels)
        grid_out, lmax = grid_out or grid, whole_number("lmax", lmax)
        if not 1 <= lmax <= min(grid.nlat, grid_out.nlat):
            raise ValueError(
                f"lmax {lmax} from the grid {grid} to {grid_out}; expected 1 to "
                f"{min(grid.nlat, grid_out.nlat)}"
            )
        self.lmax, self.complex = lmax, complex
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, lmax))
        if complex:
            self.weight = nn.Parameter(
                torch.stack((self.weight.detach(), torch.zeros_like(self.weight)), dim=-1)
            )
        with torch.no_grad():
            self.weight.div_(math.sqrt(in_channels))
        self._prepare(Spec(grid, grid_out, lmax, ()), torch.empty(0, 0), torch.empty(0, 0))

    def degree_matrices(self) -> Tensor:
        """Matrices of all degrees, (lmax, c, o), or (lmax, 2c, 2o) of real and imaginary parts."""
        # A layer on a coarser grid may share a weight that has degrees beyond its own.
        weight = self.weight[:, :, : self.lmax]
        if not self.complex:
            return weight.permute(2, 1, 0)
        real, imag = weight.permute(2, 1, 0, 3).unbind(-1)
        top = torch.cat((real, imag), dim=2)
        return torch.cat((top, torch.cat((-imag, real), dim=2)), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return _apply(x, self, [self])


class IntegralConv(_Convolution):
    """The local integral branch (DISCO): a kernel on a disc of fixed angular radius.

    y(x) = ∫ κ(x, x') u(x') dx' over the disc, κ = Σ_k W_k ψ_k, with the filter bases and the
    normalisation of torch-harmonics' `DiscreteContinuousConvS2`.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of the input.
        theta_cutoff: radius of the disc, radians; it stays when the grid changes.
        kernel_shape: radial (and angular) number of basis functions; of "zernike" one number.
        basis_type: "piecewise linear", "harmonic", "zernike" or "fourier-bessel".
        normalization: `basis_norm_mode` of torch-harmonics.
        grid_out: of the output; the input's if not given.

    Attributes:
        weight: (o, c, k), basis functions in the order of torch-harmonics.
    """

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
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels)
        shape = check_settings(kernel_shape, basis_type, normalization)
        if not 0 < theta_cutoff <= math.pi:
            raise ValueError(f"theta_cutoff {theta_cutoff}; expected an angle in (0, π] radians")
        self.filter = IntegralFilter(theta_cutoff, shape, basis_type, normalization)
        grid_out = grid_out or grid
        filters = integral_filters(grid, grid_out, theta_cutoff, shape, basis_type, normalization)
        self.k = len(filters.values)
        self._prepare(Spec(grid, grid_out, 0, (self.filter,)), *combinations(filters))
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, self.k) / math.sqrt(in_channels * self.k)
        )

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the filters, (o, c, k)."""
        return self.weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return _apply(x, self, [self])


class DifferentialConv(_Convolution):
    """The local differential branch: a learned combination of covariant derivatives.

    Args:
        in_channels: c.
        out_channels: o.
        grid: of input and output.
        order: 1 for the gradient, 2 for the second derivatives too.
        length_scale: radians; derivatives are taken per this length, so that those of fields with
            this scale are of order one. It belongs to the model and stays when the grid changes.
        grid_out: must be the grid of the input.

    Attributes:
        weight: (o, c, k), k = east, north[, east-east, east-north, north-north].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        *,
        order: Literal[1, 2] = 1,
        length_scale: float = 1.0,
        grid_out: Grid | None = None,
    ) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels)
        if order not in (1, 2):
            raise ValueError(f"derivatives of order {order}; expected 1 or 2")
        if not 0 < length_scale < math.inf:
            raise ValueError(f"length_scale {length_scale}; expected a positive angle in radians")
        if grid_out is not None and grid_out != grid:
            raise ValueError(
                f"a differential branch from {grid} to {grid_out}: stencils stay on their grid; "
                "use the spectral or the integral branch to change it"
            )
        self.grid, self.order, self.length_scale = grid, order, length_scale
        self.filter = DifferentialFilter(order)
        filters = differential_filters(grid, order)
        self.k = len(filters.values)
        self._prepare(Spec(grid, grid, 0, (self.filter,)), *combinations(filters))
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, self.k) / math.sqrt(in_channels * self.k)
        )

    def filter_weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the filters, (o, c, k), in derivatives per radian."""
        first, second = self.weight.to(dtype).tensor_split([2], dim=2)
        return torch.cat((first * self.length_scale, second * self.length_scale**2), dim=2)

    def derivatives(self, x: Tensor) -> Tensor:
        """Derivatives of x (b, c, nlat, nlon) per radian: (b, c, k, nlat, nlon)."""
        check_on_grid(x, self.grid)
        dtype = _working_dtype(x)
        filters = differential_filters(self.grid, self.order)
        s = symbols(filters, self.grid.nlon // 2 + 1)
        rows = (s.first_row[:, None] + torch.arange(s.real.shape[2])).to(x.device)  # (h', band)
        near = torch.fft.rfft(x.to(dtype))[..., rows, :]  # (b, c, h', band, m)
        symbol = torch.einsum("jk,jhrm->khrm", s.combine_real, s.real) + 1j * torch.einsum(
            "jk,jhrm->khrm", s.combine_imag, s.imag
        )
        spectrum = torch.einsum("bchrm,khrm->bckhm", near, symbol.to(near))
        return torch.fft.irfft(spectrum, n=self.grid.nlon).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon)."""
        return _apply(x, self, [self])


_LAYERS: dict[str, type[nn.Module]] = {
    "spectral": SpectralConv,
    "integral": IntegralConv,
    "differential": DifferentialConv,
}


def _check_channels(in_channels: int, out_channels: int) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if whole_number(name, value) < 1:
            raise ValueError(f"{name} {value}; expected 1 or more")


def _check_branches(branches: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a ValueError unless every branch exists and has the settings that it needs."""
    expected = f"expected one or more of {', '.join(_LAYERS)}"
    if not isinstance(branches, Mapping) or not branches or set(branches) - set(_LAYERS):
        names = sorted(map(str, branches)) if isinstance(branches, Mapping) else repr(branches)
        raise ValueError(f"branches {names}; {expected}, each with its settings")
    for name, settings in branches.items():
        parameters = {
            key: parameter
            for key, parameter in signature(_LAYERS[name]).parameters.items()
            if parameter.kind is Parameter.KEYWORD_ONLY and key != "grid_out"
        }
        allowed = f"expected {', '.join(parameters)}"
        if not isinstance(settings, Mapping) or set(settings) - set(parameters):
            given = sorted(map(str, settings)) if isinstance(settings, Mapping) else repr(settings)
            raise ValueError(f"settings {given} of the {name} branch; {allowed}")
        for key, parameter in parameters.items():
            if parameter.default is Parameter.empty and key not in settings:
                raise ValueError(f"the {name} branch has no {key}; {allowed}")


def _working_dtype(x: Tensor) -> torch.dtype:
    """In what x is computed: float64 for float64, float32 for all others."""
    if not x.is_floating_point():
        raise ValueError(f"input of type {x.dtype}; expected a real floating-point type")
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _apply(x: Tensor, convolution: _Convolution, layers: list[nn.Module]) -> Tensor:
    """Sum of the layers' branches on x, (b, o, nlat_out, nlon_out) in the type of x."""
    check_on_grid(x, convolution._spec.grid)
    if x.dim() != 4:
        raise ValueError(f"input of shape {tuple(x.shape)}; expected (batch, channel, nlat, nlon)")
    dtype = _working_dtype(x)
    spectral = [b for b in layers if isinstance(b, SpectralConv)]
    local = [b for b in layers if isinstance(b, IntegralConv | DifferentialConv)]
    channels_in = (spectral or local)[0].weight.shape[1]
    if x.shape[1] != channels_in:
        raise ValueError(f"input of {x.shape[1]} channels; the layer was built for {channels_in}")
    with torch.autocast(x.device.type, enabled=False):
        kappa = spectral[0].degree_matrices() if spectral else x.new_empty(0)
        w_real = w_imag = x.new_empty(0, channels_in)
        if local:
            weight = torch.cat([b.filter_weights(dtype) for b in local], dim=2)
            w_real = _symbol_weights(weight, convolution._combine_real)
            w_imag = _symbol_weights(weight, convolution._combine_imag)
        y, _ = convolve(
            x.to(dtype),
            kappa.to(dtype).contiguous(),
            w_real.to(dtype),  # of no branch: the type of x still
            w_imag.to(dtype),
            convolution._key,
            get_product_precision(),
        )
    return y.to(x.dtype)


def _symbol_weights(weight: Tensor, combine: Tensor) -> Tensor:
    """Weights of the symbols from those of the filters: (o, c, k) to (k'·o, c)."""
    # No matrix product: autocast would round it, in a backward pass inside its context.
    mixed = (combine.to(weight)[:, None, None] * weight).sum(dim=-1)  # (k', o, c)
    return mixed.flatten(0, 1)
