"""The sum of all branches as one differentiable operation between two Fourier transforms.

    x --rfft--> Z;  Y[m] = P_mᵀ κ P_m q Z[m] + Σ_k a_k[m] Z[m] W_k;  Y --irfft--> y

Everything between the transforms is a batched matrix product per wavenumber. The transforms are
unitary, so that the backward pass is the same pipeline with transposed tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sphere_ops.degrees import mix_degrees, outer_degrees
from sphere_ops.local import add_local, local_backward
from sphere_ops.mesh import current
from sphere_ops.plan import Spec, layout, local_symbols, named, tables
from sphere_ops.precision import product_dtype, products
from sphere_ops.zonal import to_rows, to_wavenumbers


@torch.library.custom_op("sphere_ops::convolve", mutates_args=())
def convolve(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor]:
    """Sum of all branches.

    Args:
        x: (b, c, nlat, nlon), float32 or float64.
        kappa: spectral weights (lmax, c, o) or, complex, (lmax, 2c, 2o); empty without the branch.
        w_real: weights of the real symbols, (k·o, c); empty without any.
        w_imag: weights of the imaginary symbols, (k·o, c); empty without any.
        name: of the spec.
        precision: of the products, from `sphere_ops.precision`; the transforms keep that of x.

    Returns:
        y (b, o, nlat_out, nlon_out), and the input in wavenumbers for the backward pass.
    """
    dtype = product_dtype(x.dtype, precision)
    t = tables(named(name), dtype, x.device, current().latitude)
    kappa, w_real, w_imag = kappa.to(dtype), w_real.to(dtype), w_imag.to(dtype)
    channels_out = _channels_out(named(name), kappa, w_real, w_imag, x.shape[1])
    z = to_wavenumbers(x, t.rows_in, dtype)
    y = z.new_empty(2, x.shape[0], t.rows_out.total, channels_out)
    with products(precision, x.device):
        if t.spectral is not None:
            scale = (t.rows_out.nlon / t.rows_in.nlon) ** 0.5
            coeffs = t.spectral[0].analyse(t.rows_in.body(z))
            mixed = mix_degrees(coeffs, kappa * scale, t.spectral[0].orders)
            t.spectral[1].synthesise(mixed, t.rows_out.body(y))
        add_local(t, z, w_real, w_imag, y)
    return to_rows(y, t.rows_out), z


@convolve.register_fake
def _(
    x: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor]:
    rows_in, rows_out, _ = layout(named(name), current().latitude)
    o = _channels_out(named(name), kappa, w_real, w_imag, x.shape[1])
    y = x.new_empty(x.shape[0], o, rows_out.own_rows, rows_out.nlon)
    dtype = product_dtype(x.dtype, precision)
    return y, x.new_empty(2, x.shape[0], rows_in.total, x.shape[1], dtype=dtype)


@torch.library.custom_op("sphere_ops::convolve_backward", mutates_args=())
def convolve_backward(
    dy: Tensor, z: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `convolve` by x, kappa, w_real and w_imag."""
    t = tables(named(name), z.dtype, dy.device, current().latitude)
    kappa_z, w_real_z, w_imag_z = kappa.to(z.dtype), w_real.to(z.dtype), w_imag.to(z.dtype)
    dyz = to_wavenumbers(dy, t.rows_out, z.dtype)
    dz = z.new_empty(z.shape)
    dkappa = torch.zeros_like(kappa)
    with products(precision, dy.device):
        if t.spectral is not None:
            scale = (t.rows_out.nlon / t.rows_in.nlon) ** 0.5
            orders = t.spectral[0].orders
            dmixed = t.spectral[1].analyse(t.rows_out.body(dyz), quadrature=False)
            coeffs = t.spectral[0].analyse(t.rows_in.body(z))
            dkappa = outer_degrees(coeffs, dmixed, kappa.shape, orders) * scale
            dcoeffs = mix_degrees(dmixed, kappa_z.transpose(1, 2) * scale, orders)
            t.spectral[0].synthesise(dcoeffs, t.rows_in.body(dz), quadrature=True)
        dw_real, dw_imag = local_backward(t, z, dyz, w_real_z, w_imag_z, dz)
    dx = to_rows(dz, t.rows_in)
    return dx, dkappa.to(kappa.dtype), dw_real.to(w_real.dtype), dw_imag.to(w_imag.dtype)


@convolve_backward.register_fake
def _(
    dy: Tensor, z: Tensor, kappa: Tensor, w_real: Tensor, w_imag: Tensor, name: str, precision: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows_in, _, _ = layout(named(name), current().latitude)
    dx = dy.new_empty(dy.shape[0], z.shape[3], rows_in.own_rows, rows_in.nlon)
    return dx, torch.empty_like(kappa), torch.empty_like(w_real), torch.empty_like(w_imag)


def _setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    _, kappa, w_real, w_imag, ctx.name, ctx.precision = inputs
    ctx.save_for_backward(output[1], kappa, w_real, w_imag)
    ctx.set_materialize_grads(False)  # of z nobody asks for one


def _backward(ctx, dy: Tensor | None, _dz: Tensor | None):  # type: ignore[no-untyped-def]
    if dy is None:
        return (None,) * 6
    z, kappa, w_real, w_imag = ctx.saved_tensors
    gradients = convolve_backward(dy, z, kappa, w_real, w_imag, ctx.name, ctx.precision)
    return *gradients, None, None


convolve.register_autograd(_backward, setup_context=_setup_context)

for _device_type in ("cpu", "cuda"):  # precision is set by `precision` alone, backward too
    convolve.register_autocast(_device_type, torch.float32)
    convolve_backward.register_autocast(_device_type, torch.float32)


def _channels_out(
    spec: Spec, kappa: Tensor, w_real: Tensor, w_imag: Tensor, channels_in: int
) -> int:
    if spec.lmax:
        return kappa.shape[2] * channels_in // kappa.shape[1]
    s = local_symbols(spec, current().latitude)
    return w_real.shape[0] // len(s.real) if len(s.real) else w_imag.shape[0] // len(s.imag)
