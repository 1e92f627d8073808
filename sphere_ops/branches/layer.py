"""What the layers of all branches share: a prepared convolution, and how inputs get into it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sphere_ops.engine.convolution import convolve
from sphere_ops.engine.plan import ConvolutionSpec, layout, local_symbols
from sphere_ops.grid import whole_number
from sphere_ops.parallel.fields import check_on_grid
from sphere_ops.parallel.mesh import current
from sphere_ops.precision import get_product_precision


class Layer(nn.Module):
    """A layer that has prepared its convolution before `torch.compile` traces it.

    Tracing ignores caches, so that nothing may be made there.

    Attributes:
        spec: of the convolution.
        combine_real: filter weights to those of the real symbols, (k', k).
        combine_imag: filter weights to those of the imaginary symbols, (k', k).
    """

    spec: ConvolutionSpec
    combine_real: Tensor
    combine_imag: Tensor

    def _prepare(self, spec: ConvolutionSpec, combine_real: Tensor, combine_imag: Tensor) -> None:
        self.spec = spec
        layout(spec, current().latitude)
        # Of numbers 1, 0 and −1: exact in every type, and on the device of the weights.
        self.register_buffer("combine_real", combine_real, persistent=False)
        self.register_buffer("combine_imag", combine_imag, persistent=False)

    def _prepare_filter(self, spec: ConvolutionSpec) -> int:
        """Prepare a branch with filters alone, and count them."""
        s = local_symbols(spec, current().latitude)
        self._prepare(spec, s.combine_real, s.combine_imag)
        return s.combine_real.shape[1]

    def _convolve(self, x: Tensor, kappa: Tensor | None, weights: list[Tensor]) -> Tensor:
        """Sum of the branches on x (b, c, nlat, nlon), in the type of x.

        Args:
            x: any floating-point type.
            kappa: matrices of all degrees, (lmax, c, o); None without a spectral branch.
            weights: of the filters of every local branch, (o, c, k).
        """
        check_on_grid(x, self.spec.grid)
        if x.dim() != 4:
            raise ValueError(
                f"input of shape {tuple(x.shape)}; expected (batch, channel, nlat, nlon)"
            )
        self._check_channels_in(x.shape[1])
        return self._sum_of_branches(x, kappa, weights)

    def _sum_of_branches(self, x: Tensor, kappa: Tensor | None, weights: list[Tensor]) -> Tensor:
        """As `_convolve`, of a 4-dimensional input with as many channels as the weights."""
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

    def _check_channels_in(self, channels: int) -> None:
        expected = next(self.parameters()).shape[1]
        if channels != expected:
            raise ValueError(f"input of {channels} channels; the layer was built for {expected}")


def check_channels(in_channels: int, out_channels: int) -> None:
    """Raise a ValueError unless both are whole and positive."""
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if whole_number(name, value) < 1:
            raise ValueError(f"{name} {value}; expected 1 or more")


def working_dtype(x: Tensor) -> torch.dtype:
    """In what x is computed: float64 for float64, float32 for all others."""
    if not x.is_floating_point():
        raise ValueError(f"input of type {x.dtype}; expected a real floating-point type")
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _symbol_weights(weight: Tensor, combine: Tensor) -> Tensor:
    """Weights of the symbols from those of the filters: (o, c, k) to (k'·o, c)."""
    # No matrix product: autocast would round it, in a backward pass inside its context.
    mixed = (combine.to(weight)[:, None, None] * weight).sum(dim=-1)  # (k', o, c)
    return mixed.flatten(0, 1)
