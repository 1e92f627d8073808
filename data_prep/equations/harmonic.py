"""Patterns of one spherical harmonic."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def unit_harmonic(lmax: int, degree: int, order: int) -> Tensor:
    """Return the coefficients of a harmonic with rms 1, (lmax, lmax) complex128.

    It is even about longitude 0.

    Raises:
        ValueError: if the truncation has no such degree or order.
    """
    if not 0 <= order <= degree < lmax:
        raise ValueError(
            f"harmonic of degree {degree} and order {order} with lmax {lmax}; expected an order of "
            f"at most the degree, and a degree of at most {lmax - 1}"
        )
    coeffs = torch.zeros(lmax, lmax, dtype=torch.complex128)
    # Orders above 0 stand for both signs, which have half of the power each.
    coeffs[degree, order] = math.sqrt((4 if order == 0 else 2) * math.pi)
    return coeffs
