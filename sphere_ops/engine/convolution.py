"""The sum of all branches as one differentiable operation between two Fourier transforms.

    x --rfft--> Z;  Y[m] = P_mᵀ κ P_m q Z[m] + Σ_k a_k[m] Z[m] W_k;  Y --irfft--> y

Everything between the transforms is a batched matrix product per wavenumber. The transforms are
unitary, so that the backward pass is the same pipeline with transposed tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sphere_ops.engine.layout import to_rows, to_wavenumbers
from sphere_ops.engine.local import add_local, local_backward
from sphere_ops.engine.plan import (
    ConvolutionSpec,
    layouts,
    local_symbols,
    spectral_products,
    tables,
)
from sphere_ops.engine.spec import spec_from_json
from sphere_ops.engine.spectral import coefficient_rows
from sphere_ops.parallel.mesh import current
from sphere_ops.precision import product_dtype, products


@torch.library.custom_op("sphere_ops::convolve", mutates_args=())
def convolve(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of all branches.

    Args:
        x: (b, c, nlat, nlon), float32 or float64.
        kappa: spectral weights (lmax, c, o) or, complex, (lmax, 2c, 2o); empty without the branch.
        w_real: weights of the real symbols, (k·o, c); empty without any.
        w_imag: weights of the imaginary symbols, (k·o, c); empty without any.
        name: name of the spec.
        precision: precision of the products, from `sphere_ops.precision`; the transforms keep
            that of x.

    Returns:
        y (b, o, nlat_out, nlon_out), and what the backward pass needs of the input: with local
        branches its wavenumbers, with a spectral one its coefficients; empty without.
    """
    dtype = product_dtype(x.dtype, precision)
    spec = spec_from_json(name)
    t = tables(spec, dtype, x.device, current().latitude)
    kappa, w_real, w_imag = kappa.to(dtype), w_real.to(dtype), w_imag.to(dtype)
    channels_out = _channels_out(spec, kappa, w_real, w_imag, x.shape[1])
    z = to_wavenumbers(x, t.layout_in, dtype)
    y = z.new_empty(2, x.shape[0], t.layout_out.total, channels_out)
    coeffs = z.new_empty(0)
    with products(precision, x.device):
        if spec.lmax:
            spectral = spectral_products(spec, dtype, x.device, current().latitude)
            coeffs = spectral.forward(t.layout_in.body(z), kappa, t.layout_out.body(y))
        add_local(t, z, w_real, w_imag, y)
    if t.blocks is None:
        z = z.new_empty(0)
    return to_rows(y, t.layout_out), z, coeffs


@convolve.register_fake
def _(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor, Tensor]:
    spec, b, c = spec_from_json(name), *x.shape[:2]
    layout_in, layout_out, blocks = layouts(spec, current().latitude)
    o = _channels_out(spec, kappa, w_real, w_imag, c)
    y = x.new_empty(x.shape[0], o, layout_out.own_rows, layout_out.nlon)
    dtype = product_dtype(x.dtype, precision)
    z = (0,) if blocks is None else (2, b, layout_in.total, c)
    coeffs: tuple[int, ...] = (0,)
    if spec.lmax:
        orders = layout_in.own.below(spec.mmax)
        coeffs = coefficient_rows(orders, spec.lmax, b, x.device), c
    return y, x.new_empty(z, dtype=dtype), x.new_empty(coeffs, dtype=dtype)


@torch.library.custom_op("sphere_ops::convolve_backward", mutates_args=())
def convolve_backward(
    dy: Tensor,
    z: Tensor,
    coeffs: Tensor,
    kappa: Tensor,
    w_real: Tensor,
    w_imag: Tensor,
    name: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `convolve` by x, kappa, w_real and w_imag, from its results but the first."""
    spec = spec_from_json(name)
    t = tables(spec, z.dtype, dy.device, current().latitude)
    kappa_z, w_real_z, w_imag_z = kappa.to(z.dtype), w_real.to(z.dtype), w_imag.to(z.dtype)
    dyz = to_wavenumbers(dy, t.layout_out, z.dtype)
    channels = max(z.shape[-1], coeffs.shape[-1])  # one of them may be empty, (0,)
    dz = z.new_empty(2, len(dy), t.layout_in.total, channels)
    dkappa = torch.empty_like(kappa)  # it is empty without a spectral branch
    with products(precision, dy.device):
        if spec.lmax:
            spectral = spectral_products(spec, z.dtype, dy.device, current().latitude)
            dy_rows, dz_rows = t.layout_out.body(dyz), t.layout_in.body(dz)
            dkappa = spectral.backward(coeffs, dy_rows, kappa_z, dz_rows)
        dw_real, dw_imag = local_backward(t, z, dyz, w_real_z, w_imag_z, dz)
    dx = to_rows(dz, t.layout_in)
    return dx, dkappa.to(kappa.dtype), dw_real.to(w_real.dtype), dw_imag.to(w_imag.dtype)


@convolve_backward.register_fake
def _(
    dy: Tensor,
    z: Tensor,
    coeffs: Tensor,
    kappa: Tensor,
    w_real: Tensor,
    w_imag: Tensor,
    name: str,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layout_in, _, _ = layouts(spec_from_json(name), current().latitude)
    channels = max(z.shape[-1], coeffs.shape[-1])
    dx = dy.new_empty(len(dy), channels, layout_in.own_rows, layout_in.nlon)
    return dx, torch.empty_like(kappa), torch.empty_like(w_real), torch.empty_like(w_imag)


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    _, kappa, w_real, w_imag, ctx.name, ctx.precision = inputs
    ctx.save_for_backward(*output[1:], kappa, w_real, w_imag)
    ctx.set_materialize_grads(False)  # of z and coeffs nobody asks for one


def _backward(ctx, dy: Tensor | None, *_):  # type: ignore[no-untyped-def]
    if dy is None:
        return (None,) * 6
    z, coeffs, kappa, w_real, w_imag = ctx.saved_tensors
    gradients = convolve_backward(dy, z, coeffs, kappa, w_real, w_imag, ctx.name, ctx.precision)
    return *gradients, None, None


convolve.register_autograd(_backward, setup_context=_setup_context)

for _device_type in ("cpu", "cuda"):  # precision is set by `precision` alone, backward too
    convolve.register_autocast(_device_type, torch.float32)
    convolve_backward.register_autocast(_device_type, torch.float32)


def _channels_out(
    spec: ConvolutionSpec, kappa: Tensor, w_real: Tensor, w_imag: Tensor, channels_in: int
) -> int:
    if spec.lmax:
        return kappa.shape[2] * channels_in // kappa.shape[1]
    s = local_symbols(spec, current().latitude)
    return w_real.shape[0] // len(s.real) if len(s.real) else w_imag.shape[0] // len(s.imag)
