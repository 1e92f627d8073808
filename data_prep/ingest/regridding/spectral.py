"""Regridding by spherical harmonics, truncated at the degrees that both grids resolve."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample, rotated
from sphere_ops.harmonics.transforms import InverseRealSHT, InverseRealVectorSHT, RealSHT, gradient

_BYTES = 16 * 2**20  # of the fields that are transformed together


class SpectralMap:
    """Resampling of fields and of single components of vectors; see `resample`.

    A component of a smooth vector field has no limit at the poles, and is no sum of spherical
    harmonics. Its product with sin θ is one, since it is the product of the vector with a smooth
    field: of the eastward component with a rotation about the axis, of the northward component with
    the gradient of cos θ. It is zero at the poles.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        """Choose the truncation.

        Args:
            source: Grid of the fields.
            target: Grid of the result.
        """
        self.source, self.target = source, target
        lmax = self.lmax = min(source.exact_lmax, target.exact_lmax)
        self._analysis, self._synthesis = RealSHT(source, lmax), InverseRealSHT(target, lmax)
        self._vector = InverseRealVectorSHT(target, lmax)

    def __call__(self, fields: NDArray[np.floating], *, vector: bool) -> NDArray[np.float64]:
        """Resample fields (n, nlat, nlon) without missing values, in bounded memory."""
        out = np.empty((len(fields), *self.target.shape))
        largest = max(self.source.nlat * self.source.nlon, self.target.nlat * self.target.nlon)
        size = max(1, _BYTES // (8 * largest))
        for i in range(0, len(fields), size):
            x = torch.from_numpy(np.asarray(fields[i : i + size], dtype=np.float64, order="C"))
            out[i : i + size] = (self._component(x) if vector else self._scalar(x)).numpy()
        return out

    def _scalar(self, x: Tensor) -> Tensor:
        return resample(x, self.source, self.target)

    def _component(self, x: Tensor) -> Tensor:
        if self.target.is_rotation_of(self.source):
            return self._scalar(x)
        coeffs = self._analysis(x * self.source.colatitude.sin()[:, None])
        coeffs = _zero_at_poles(coeffs)
        shift = self.target.first_longitude - self.source.first_longitude
        coeffs = rotated(coeffs, self._analysis.orders.index, shift)
        if self.target.kind != "equiangular":
            return self._synthesis(coeffs) / self.target.colatitude.sin()[:, None]
        sine = self.target.colatitude.sin()[1:-1, None]
        north = gradient(self._vector, coeffs)[..., 1, :, :]
        inner = self._synthesis(coeffs)[..., 1:-1, :] / sine
        return torch.cat((-north[..., :1, :], inner, north[..., -1:, :]), dim=-2)


def _zero_at_poles(coeffs: Tensor) -> Tensor:
    """Return the nearest coefficients (..., lmax, mmax) of fields that are zero at both poles.

    Order 0 alone has values there, √((2l + 1) / 4π) c_l0 at the north pole and (−1)^l times it at
    the south pole.
    """
    zonal = coeffs[..., 0].clone()  # (..., l)
    for first in (0, 1):
        value = (2 * torch.arange(coeffs.shape[-2])[first::2] + 1).to(zonal).sqrt()
        same = zonal[..., first::2]
        zonal[..., first::2] = same - (same @ value)[..., None] * value / (value @ value)
    return torch.cat((zonal[..., None], coeffs[..., 1:]), dim=-1)
