"""Independence of all results from the previous contents of memory."""

import pytest
import torch

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.grid import Grid

BRANCHES = {
    "spectral": {"lmax": 30},
    "integral": {"theta_cutoff": 0.3},
    "differential": {"order": 1},
}


@pytest.mark.parametrize("name", BRANCHES)
def test_freed_memory_full_of_nan_reaches_no_result(name: str) -> None:
    torch.manual_seed(0)
    grid = Grid.legendre_gauss(32, 64)
    conv = LocalSphericalConv(3, 4, grid, branches={name: BRANCHES[name]})
    x = torch.randn(2, 3, *grid.shape, requires_grad=True)
    plain = torch.autograd.grad(conv(x).square().sum(), [x, *conv.parameters()])
    torch.use_deterministic_algorithms(True)  # fills uninitialised memory with NaN
    try:
        filled = torch.autograd.grad(conv(x).square().sum(), [x, *conv.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(plain, filled, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
