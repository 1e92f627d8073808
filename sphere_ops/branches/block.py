"""Block: the sum of parallel branches, computed through one pair of Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, cast

import torch
from torch import nn

from sphere_ops.branches.differential import DifferentialConv
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.branches.layer import Branch, Layer
from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.grid import Grid

BRANCHES: dict[str, type[Branch]] = {
    "spectral": SpectralConv,
    "integral": IntegralConv,
    "differential": DifferentialConv,
}
"""Classes of branches by name, in the order in which a block draws their weights."""

_NOT_SETTINGS = ("grid_out", "device", "dtype")
"""Keyword arguments of a branch that the block passes itself."""


class LocalSphericalConv(Layer):
    """Sum of branches, such as spectral, integral and differential, through one pair of FFTs.

    Maps (b, c, nlat, nlon) to (b, o, nlat_out, nlon_out).

    Args:
        in_channels: Number of input channels, c.
        out_channels: Number of output channels, o.
        grid: Grid of the input.
        branches: Settings of each branch by its name in `BRANCHES`: the keyword arguments of its
            class. A branch that is not named does not exist.
        grid_out: Grid of the output; that of the input if not given. The differential branch cannot
            change the grid. The first columns of both grids are taken as one longitude, whatever
            their `first_longitude`.
        device: Device of the weights.
        dtype: Type of the weights.

    Raises:
        ValueError: If no branch is named, a name is unknown, or settings are wrong.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Grid,
        branches: Mapping[str, Mapping[str, Any]],
        grid_out: Grid | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, grid, grid_out)
        _check_branches(branches)
        given: dict[str, Any] = {"grid_out": grid_out, "device": device, "dtype": dtype}
        self.branches = nn.ModuleDict(
            {
                name: branch(in_channels, out_channels, grid, **given, **branches[name])
                for name, branch in BRANCHES.items()
                if name in branches
            }
        )
        self._share_variance()
        filters = [b.filter for b in self.summands() if b.filter is not None]
        self._prepare(max(b.lmax for b in self.summands()), filters)

    def summands(self) -> Iterable[Branch]:
        """Return the branches of the sum."""
        return cast(Iterable[Branch], self.branches.values())

    def reset_parameters(self) -> None:
        """Draw new weights of all branches; their sum has the variance of a single one."""
        for branch in self.summands():
            branch.reset_parameters()
        self._share_variance()

    @torch.no_grad()
    def _share_variance(self) -> None:
        for parameter in self.parameters():
            parameter.div_(math.sqrt(len(self.branches)))


def _check_branches(branches: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a ValueError unless every branch is known and its settings are complete."""
    expected = f"expected one or more of {', '.join(BRANCHES)}"
    if not isinstance(branches, Mapping) or not branches or set(branches) - set(BRANCHES):
        names = sorted(map(str, branches)) if isinstance(branches, Mapping) else repr(branches)
        raise ValueError(f"branches {names}; {expected}, each with its settings")
    for name, settings in branches.items():
        parameters = {
            key: parameter
            for key, parameter in signature(BRANCHES[name]).parameters.items()
            if parameter.kind is Parameter.KEYWORD_ONLY and key not in _NOT_SETTINGS
        }
        allowed = f"expected {', '.join(parameters)}"
        if not isinstance(settings, Mapping) or set(settings) - set(parameters):
            given = sorted(map(str, settings)) if isinstance(settings, Mapping) else repr(settings)
            raise ValueError(f"settings {given} of the {name} branch; {allowed}")
        for key, parameter in parameters.items():
            if parameter.default is Parameter.empty and key not in settings:
                raise ValueError(f"the {name} branch has no {key}; {allowed}")
