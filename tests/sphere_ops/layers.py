"""Small layers, fields and gradients for the tests of the block."""

import torch
from torch import Tensor, nn

from sphere_ops import LocalSphericalConv
from sphere_ops.grid import Grid
from tests.sphere_ops.branches.test_against_reference import CASES

GRID = Grid.legendre_gauss(9, 16)


def block(branches: dict | None = None, channels: int = 3, channels_out: int = 2, **settings):
    return LocalSphericalConv(
        channels, channels_out, GRID, branches=branches or CASES["all, complex"], **settings
    )


def field(batch: int = 2, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, channels, *GRID.shape, dtype=dtype)


def gradients(layer: nn.Module, x: Tensor, direction: Tensor) -> tuple[Tensor, ...]:
    x = x.detach().requires_grad_()
    return torch.autograd.grad((layer(x) * direction).sum(), [x, *layer.parameters()])


def assert_all_close(found, expected, tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
