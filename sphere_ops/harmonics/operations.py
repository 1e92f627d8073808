"""Analysis and synthesis as differentiable operations, adjoint to each other up to weights.

Each is a Fourier transform and the batched products of `legendre_tables`. `torch.compile` treats
it as one opaque call in its graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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

_NAME = "sphere_ops::"


@dataclass(frozen=True)
class TransformSpec(Spec):
    """Grid, truncation and functions of latitude of a transform."""

    grid: Grid
    lmax: int
    mmax: int
    functions: tuple[Function, ...]

    @property
    def layout(self) -> ZonalLayout:
        """Layout of the rows of the grid for these orders."""
        return _layout(self, current().latitude)


@in_table_set
def _layout(spec: TransformSpec, shard: Shard) -> ZonalLayout:
    per_rank = tuple(other.orders(spec.mmax) for other in shard.all())
    return ZonalLayout(spec.grid.nlat, spec.grid.nlon, per_rank, shard, spec.grid.nlat, 0)


def analyse(x: Tensor, spec: TransformSpec) -> Tensor:
    """Return the coefficients of fields for each function of latitude.

    Args:
        x: Fields, (..., nlat, nlon), float32 or float64; in a mesh this rank's rows.
        spec: Description of the transform.

    Returns:
        (functions, ..., lmax, mmax) complex; in a mesh this rank's orders.
    """
    flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    coeffs = _analyse(flat, spec.name, False)
    shape = coeffs.shape[0], *x.shape[:-2], *coeffs.shape[2:4]
    return torch.view_as_complex(coeffs).reshape(shape)


def synthesise(coeffs: Tensor, spec: TransformSpec) -> Tensor:
    """Return the fields of coefficients, summed over the functions of latitude.

    Args:
        coeffs: Coefficients, (functions, ..., lmax, mmax) complex; in a mesh this rank's orders.
        spec: Description of the transform.

    Returns:
        (..., nlat, nlon) real; in a mesh this rank's rows.
    """
    n = math.prod(coeffs.shape[1:-2])
    flat = coeffs.reshape(len(spec.functions), n, *coeffs.shape[-2:])
    x = _synthesise(torch.view_as_real(flat.resolve_conj()), spec.name, False)
    return x.reshape(*coeffs.shape[1:-2], *x.shape[-2:])


def _operation(function: Callable[[Tensor, str, bool], Tensor]) -> Callable[..., Tensor]:
    """Register a function as an operation of torch, and return the operation.

    Unlike `torch.library.custom_op`, whose operations import the compiler when they are first
    called, which takes 2 s and 140 MiB in a process that compiles nothing.
    """
    name = function.__name__.lstrip("_")
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(_NAME + name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(_NAME + name, "default", function)
    operation: Callable[..., Tensor] = getattr(torch.ops.sphere_ops, name).default
    return operation


@_operation
def _analyse(x: Tensor, name: str, adjoint: bool) -> Tensor:
    """Apply analysis or the adjoint of synthesis to x (n, nlat, nlon): (f, n, lmax, mmax, 2)."""
    spec = spec_from_json(name)
    layout, orders = spec.layout, spec.layout.own
    out = x.new_empty(len(spec.functions), len(x), spec.lmax, orders.count, 2)
    if not len(x):  # torch refuses the Fourier transform of an empty tensor
        return out
    tables = _tables(spec, orders, x.dtype, x.device)
    weights = tables[0].equator if adjoint else tables[0].equator * tables[0].quadrature
    z = to_fold(x, layout, weights, "backward" if adjoint else "forward")
    if adjoint:
        z *= _counted(spec, x)
    contract_latitude(tables, z, torch.view_as_complex(out))
    return out


@_operation
def _synthesise(coeffs: Tensor, name: str, adjoint: bool) -> Tensor:
    """Apply synthesis or the adjoint of analysis to (f, n, lmax, mmax, 2): (n, nlat, nlon)."""
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
    """Return the tables of the functions of latitude for some orders."""
    of = spec.grid, spec.lmax, orders, dtype, device
    return [legendre_tables(*of, function) for function in spec.functions]


def _counted(spec: TransformSpec, like: Tensor) -> Tensor:
    """Return the factor of each of this rank's orders in the real inner product, (orders, 1, 1).

    It is 2 for an order m > 0, which represents −m too, and 1 for 0 and the Nyquist order.
    """
    nlon, orders = spec.grid.nlon, spec.layout.own
    count = like.new_full((orders.count, 1, 1), 2.0)
    count[: orders.count_below(1)] = 1
    if nlon % 2 == 0:
        count[orders.count_below(nlon // 2) :] = 1
    return count


@torch.library.register_fake(_NAME + "analyse")
def _(x: Tensor, name: str, adjoint: bool) -> Tensor:
    spec = spec_from_json(name)
    return x.new_empty(len(spec.functions), len(x), spec.lmax, spec.layout.orders, 2)


@torch.library.register_fake(_NAME + "synthesise")
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


for _name, _backward in (("analyse", _analyse_backward), ("synthesise", _synthesise_backward)):
    torch.library.register_autograd(_NAME + _name, _backward, setup_context=_setup_context)
    for _device_type in ("cpu", "cuda"):  # under autocast, transforms and gradients stay in float32
        torch.library.register_autocast(_NAME + _name, _device_type, torch.float32)
