"""Analysis and synthesis as differentiable operations; mutual adjoints but for weights.

Both are opaque to `torch.compile`: one call in its graph, and inside it the batched products of
`triangle` between two Fourier transforms.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cache

import torch
from torch import Tensor

from sphere_ops.folded import contract_degrees, contract_latitude, fold, unfold
from sphere_ops.grid import Grid
from sphere_ops.legendre import Function
from sphere_ops.triangle import Triangle, triangle


@dataclass(frozen=True)
class Spec:
    """Grid, truncation and the functions of latitude of a transform.

    Attributes:
        name: says all of it; what the operations take, so that a graph that holds them means the
            same in another process.
    """

    grid: Grid
    lmax: int
    mmax: int
    functions: tuple[Function, ...]
    name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Give the spec its name."""
        name = json.dumps([asdict(self.grid), self.lmax, self.mmax, self.functions])
        object.__setattr__(self, "name", name)


@cache
def _named(name: str) -> Spec:
    grid, lmax, mmax, functions = json.loads(name)
    return Spec(Grid(**grid), lmax, mmax, tuple(functions))


def analyse(x: Tensor, spec: Spec) -> Tensor:
    """Coefficients of fields by each function of latitude.

    Args:
        x: (..., nlat, nlon), float32 or float64.
        spec: of the transform.

    Returns:
        (functions, ..., lmax, mmax) complex.
    """
    flat = x.reshape(math.prod(x.shape[:-2]), *spec.grid.shape)
    coeffs = _analyse(flat, spec.name, False)
    shape = len(spec.functions), *x.shape[:-2], spec.lmax, spec.mmax
    return torch.view_as_complex(coeffs).reshape(shape)


def synthesise(coeffs: Tensor, spec: Spec) -> Tensor:
    """Fields of coefficients, summed over the functions of latitude.

    Args:
        coeffs: (functions, ..., lmax, mmax) complex.
        spec: of the transform.

    Returns:
        (..., nlat, nlon) real.
    """
    n = math.prod(coeffs.shape[1:-2])
    flat = coeffs.reshape(len(spec.functions), n, spec.lmax, spec.mmax)
    x = _synthesise(torch.view_as_real(flat.resolve_conj()), spec.name, False)
    return x.reshape(*coeffs.shape[1:-2], *spec.grid.shape)


@torch.library.custom_op("sphere_ops::analyse", mutates_args=())
def _analyse(x: Tensor, name: str, adjoint: bool) -> Tensor:
    """Analysis of x (n, nlat, nlon), or the adjoint of synthesis: (f, n, lmax, mmax, 2)."""
    spec = _named(name)
    out = x.new_empty(len(spec.functions), len(x), spec.lmax, spec.mmax, 2)
    if not len(x):  # torch refuses the Fourier transform of nothing
        return out
    tables = _tables(spec, x)
    weights = 2 * tables[0].halved_equator if adjoint else tables[0].halved_quadrature
    z = fold(x, spec.mmax, weights, "backward" if adjoint else "forward")
    if adjoint:
        _single(spec, z).mul_(0.5)
    for table, coeffs in zip(tables, out, strict=True):
        contract_latitude(table, z, torch.view_as_complex(coeffs))
    return out


@torch.library.custom_op("sphere_ops::synthesise", mutates_args=())
def _synthesise(coeffs: Tensor, name: str, adjoint: bool) -> Tensor:
    """Synthesis of coeffs (f, n, lmax, mmax, 2), or the adjoint of analysis: (n, nlat, nlon)."""
    spec = _named(name)
    n = coeffs.shape[1]
    if not n:
        return coeffs.new_empty(0, *spec.grid.shape)
    tables = _tables(spec, coeffs)
    z = coeffs.new_empty(2, spec.mmax, tables[0].north, n, dtype=coeffs.dtype.to_complex())
    for f, (table, c) in enumerate(zip(tables, coeffs, strict=True)):
        contract_degrees(table, torch.view_as_complex(c), z, add=f > 0)
    if not adjoint:
        return unfold(z, *spec.grid.shape, None, "forward")
    _single(spec, z).mul_(2)
    return unfold(z, *spec.grid.shape, tables[0].quadrature / 2, "backward")


def _tables(spec: Spec, like: Tensor) -> list[Triangle]:
    """Tables of the functions of latitude."""
    of = spec.grid, spec.lmax, spec.mmax, like.dtype, like.device
    return [triangle(*of, function) for function in spec.functions]


def _single(spec: Spec, z: Tensor) -> Tensor:
    """The orders of z that stand for themselves; another one stands for −m too.

    In the real inner product, which defines the adjoint, those others count twice.
    """
    nlon = spec.grid.nlon
    nyquist = nlon % 2 == 0 and spec.mmax == nlon // 2 + 1
    return z[:, :: spec.mmax - 1] if nyquist else z[:, :1]


@_analyse.register_fake
def _(x: Tensor, name: str, adjoint: bool) -> Tensor:
    spec = _named(name)
    return x.new_empty(len(spec.functions), len(x), spec.lmax, spec.mmax, 2)


@_synthesise.register_fake
def _(coeffs: Tensor, name: str, adjoint: bool) -> Tensor:
    return coeffs.new_empty(coeffs.shape[1], *_named(name).grid.shape)


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    _, ctx.name, ctx.adjoint = inputs


def _analyse_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    return _synthesise(grad.contiguous(), ctx.name, not ctx.adjoint), None, None


def _synthesise_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    x = _analyse(grad, ctx.name, not ctx.adjoint)
    return x, None, None


_analyse.register_autograd(_analyse_backward, setup_context=_setup_context)
_synthesise.register_autograd(_synthesise_backward, setup_context=_setup_context)

for _device_type in ("cpu", "cuda"):  # transforms stay in float32, their gradients too
    _analyse.register_autocast(_device_type, torch.float32)
    _synthesise.register_autocast(_device_type, torch.float32)
