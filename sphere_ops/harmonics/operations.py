"""Analysis and synthesis as differentiable operations; mutual adjoints but for weights.

Each is one opaque call in a graph of `torch.compile`: batched products of `legendre_tables` and a
Fourier transform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sphere_ops.engine.layout import ZonalLayout
from sphere_ops.engine.legendre_tables import LegendreTables, legendre_tables
from sphere_ops.engine.spec import Spec, spec_from_json
from sphere_ops.engine.tables import in_table_set
from sphere_ops.grid import Grid
from sphere_ops.harmonics.folded import (
    contract_degrees,
    contract_latitude,
    from_fold,
    to_fold,
)
from sphere_ops.kernels.legendre import Function
from sphere_ops.parallel.mesh import current
from sphere_ops.parallel.partition import Orders, Shard


@dataclass(frozen=True)
class TransformSpec(Spec):
    """Grid, truncation and functions of latitude of a transform."""

    grid: Grid
    lmax: int
    mmax: int
    functions: tuple[Function, ...]

    @property
    def layout(self) -> ZonalLayout:
        """Layout of the grid's rows for these orders."""
        return _layout(self, current().latitude)


@in_table_set
def _layout(spec: TransformSpec, shard: Shard) -> ZonalLayout:
    per_rank = tuple(other.orders(spec.mmax) for other in shard.all())
    return ZonalLayout(spec.grid.nlat, spec.grid.nlon, per_rank, shard, spec.grid.nlat, 0)


def analyse(x: Tensor, spec: TransformSpec) -> Tensor:
    """Return the coefficients of fields by each function of latitude.

    Args:
        x: (..., nlat, nlon), float32 or float64; in a mesh own rows.
        spec: description of the transform.

    Returns:
        (functions, ..., lmax, mmax) complex; in a mesh own orders.
    """
    flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    coeffs = _analyse(flat, spec.name, False)
    shape = coeffs.shape[0], *x.shape[:-2], *coeffs.shape[2:4]
    return torch.view_as_complex(coeffs).reshape(shape)


def synthesise(coeffs: Tensor, spec: TransformSpec) -> Tensor:
    """Return the fields of coefficients, summed over the functions of latitude.

    Args:
        coeffs: (functions, ..., lmax, mmax) complex; in a mesh own orders.
        spec: description of the transform.

    Returns:
        (..., nlat, nlon) real; in a mesh own rows.
    """
    n = math.prod(coeffs.shape[1:-2])
    flat = coeffs.reshape(len(spec.functions), n, *coeffs.shape[-2:])
    x = _synthesise(torch.view_as_real(flat.resolve_conj()), spec.name, False)
    return x.reshape(*coeffs.shape[1:-2], *x.shape[-2:])


@torch.library.custom_op("sphere_ops::analyse", mutates_args=())
def _analyse(x: Tensor, name: str, adjoint: bool) -> Tensor:
    """Analysis of x (n, nlat, nlon), or the adjoint of synthesis: (f, n, lmax, mmax, 2)."""
    spec = spec_from_json(name)
    layout, orders = spec.layout, spec.layout.own
    out = x.new_empty(len(spec.functions), len(x), spec.lmax, orders.count, 2)
    if not len(x):  # torch refuses the Fourier transform of nothing
        return out
    tables = _tables(spec, orders, x.dtype, x.device)
    weights = tables[0].equator if adjoint else tables[0].equator * tables[0].quadrature
    z = to_fold(x, layout, weights, "backward" if adjoint else "forward")
    if adjoint:
        z *= _counted(spec, x)
    contract_latitude(tables, z, torch.view_as_complex(out))
    return out


@torch.library.custom_op("sphere_ops::synthesise", mutates_args=())
def _synthesise(coeffs: Tensor, name: str, adjoint: bool) -> Tensor:
    """Synthesis of coeffs (f, n, lmax, mmax, 2), or the adjoint of analysis: (n, nlat, nlon)."""
    spec = spec_from_json(name)
    layout, orders, n = spec.layout, spec.layout.own, coeffs.shape[1]
    if not n:
        return coeffs.new_empty(0, layout.own_rows, layout.nlon)
    tables = _tables(spec, orders, coeffs.dtype, coeffs.device)
    z = coeffs.new_empty(2, orders.count, layout.north, n, dtype=coeffs.dtype.to_complex())
    contract_degrees(tables, torch.view_as_complex(coeffs), z)
    if adjoint:
        z /= _counted(spec, coeffs)
    weights = tables[0].quadrature if adjoint else None
    return from_fold(z, layout, weights, "backward" if adjoint else "forward")


@in_table_set
def _tables(
    spec: TransformSpec, orders: Orders, dtype: torch.dtype, device: torch.device
) -> list[LegendreTables]:
    """Tables of the functions of latitude, for some orders."""
    of = spec.grid, spec.lmax, orders, dtype, device
    return [legendre_tables(*of, function) for function in spec.functions]


def _counted(spec: TransformSpec, like: Tensor) -> Tensor:
    """Number of times that each own order counts in the real inner product, (orders, 1, 1).

    An order m > 0 stands for −m too; 0 and the Nyquist order for themselves.
    """
    nlon, orders = spec.grid.nlon, spec.layout.own
    count = like.new_full((orders.count, 1, 1), 2.0)
    count[: orders.count_below(1)] = 1
    if nlon % 2 == 0:
        count[orders.count_below(nlon // 2) :] = 1
    return count


@_analyse.register_fake
def _(x: Tensor, name: str, adjoint: bool) -> Tensor:
    spec = spec_from_json(name)
    return x.new_empty(len(spec.functions), len(x), spec.lmax, spec.layout.orders, 2)


@_synthesise.register_fake
def _(coeffs: Tensor, name: str, adjoint: bool) -> Tensor:
    layout = spec_from_json(name).layout
    return coeffs.new_empty(coeffs.shape[1], layout.own_rows, layout.nlon)


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
