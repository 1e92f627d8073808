"""Exact propagation of diagonal linear terms."""

import cmath

import pytest
import torch

from data_prep.equations.diagonal import DiagonalPropagator


@pytest.mark.parametrize("rate", [0.0, 1e-12, -0.3, -40.0, 0.02 + 0.01j, -1 + 5j])
def test_a_constant_tendency_is_integrated_exactly(rate: complex) -> None:
    h = 0.7
    rates = torch.tensor([rate], dtype=torch.complex128)
    propagator = DiagonalPropagator.over(rates, h, torch.complex128)
    one = torch.ones(1, dtype=torch.complex128)
    assert complex(propagator.propagate(one)[0]) == pytest.approx(cmath.exp(rate * h), rel=1e-14)
    # ∫₀ʰ e^{sL} ds by Gauss-Legendre quadrature on short pieces.
    pieces = 512
    nodes = [(-1, 5 / 9), (0, 8 / 9), (1, 5 / 9)]
    exact = sum(
        w * h / pieces / 2 * cmath.exp(rate * h / pieces * (i + 0.5 + x * (0.6**0.5) / 2))
        for i in range(pieces)
        for x, w in nodes
    )
    assert complex(propagator.accumulate(one)[0]) == pytest.approx(exact, rel=1e-10)


def test_real_rates_make_real_operators() -> None:
    propagator = DiagonalPropagator.over(torch.tensor([-0.5, -3.0]), 0.1, torch.float32)
    assert propagator.growth.dtype == propagator.integral.dtype == torch.float32
