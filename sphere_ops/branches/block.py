"""The branches of a block in parallel, through one Fourier transform."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.branches.layer import Layer, working_dtype
from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.engine.plan import ConvolutionSpec
from sphere_ops.grid import Grid


class LocalSphericalConv(Layer):
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
            ConvolutionSpec(grid, self.grid_out, lmax, tuple(b.filter for b in local)),
            torch.block_diag(*[b.combine_real for b in local]),
            torch.block_diag(*[b.combine_imag for b in local]),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x of shape (b, c, nlat, nlon), any floating-point type."""
        dtype = working_dtype(x)
        spectral = [b for b in self.branches.values() if isinstance(b, SpectralConv)]
        local = [
            b for b in self.branches.values() if isinstance(b, IntegralConv | DifferentialConv)
        ]
        kappa = spectral[0].degree_matrices() if spectral else None
        return self._convolve(x, kappa, [b.filter_weights(dtype) for b in local])


_LAYERS: dict[str, type[nn.Module]] = {
    "spectral": SpectralConv,
    "integral": IntegralConv,
    "differential": DifferentialConv,
}


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
