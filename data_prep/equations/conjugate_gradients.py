"""Preconditioned conjugate gradients for many systems at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sphere_ops.harmonics.transforms import sum_orders

Operator = Callable[[Tensor], Tensor]


def inner_product(x: Tensor, y: Tensor) -> Tensor:
    """Return the integral over the sphere of products of fields given by coefficients, (...,)."""
    return sum_orders((x.conj() * y).real).sum(-1)


def solve(
    operator: Operator,
    inverse: Operator,
    right: Tensor,
    tolerance: float = 1e-10,
    most_steps: int = 200,
) -> Tensor:
    """Solve A x = b for symmetric positive definite A.

    Systems that have converged stay as they are while others go on.

    Args:
        operator: A, applied to coefficients (n, lmax, lmax).
        inverse: Approximate inverse of A, symmetric and positive definite.
        right: Right-hand sides b, (n, lmax, lmax).
        tolerance: Largest norm of b − A x, relative to that of b.
        most_steps: Largest number of steps.

    Returns:
        Solutions, (n, lmax, lmax).

    Raises:
        ArithmeticError: if a system does not converge.
    """
    x, residual = torch.zeros_like(right), right.clone()
    wanted = tolerance * inner_product(right, right).sqrt()
    direction = inverse(residual)
    product = inner_product(residual, direction)
    for _ in range(most_steps):
        active = inner_product(residual, residual).sqrt() > wanted
        if not active.any():
            return x
        image = operator(direction)
        length = torch.where(active, product / inner_product(direction, image), 0.0)
        x = x + length[:, None, None] * direction
        residual = residual - length[:, None, None] * image
        descent = inverse(residual)
        previous, product = product, inner_product(residual, descent)
        ratio = torch.where(active, product / previous, 0.0)
        direction = descent + ratio[:, None, None] * direction
    raise ArithmeticError(
        f"conjugate gradients did not reach a relative residual of {tolerance:g} in {most_steps} "
        "steps"
    )
