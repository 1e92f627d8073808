"""Pointwise layers: what gates can say, their bound, and the computation by pieces."""

import pytest
import torch

from forecast.model import gated
from forecast.model.gated import Gated, GatedMLP
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(12, 24)


def test_small_gates_turn_a_field_into_its_square_and_its_coriolis_force():
    mlp = GatedMLP(2, 2, GRID).double()
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.zero_()
        # u·u into channel 0 and u·(2 sin φ + 1) into channel 1, with gates of a thousandth
        mlp.factors.weight[:] = torch.tensor([[1.0, 0], [1, 0], [1e-3, 0], [0, 0]])
        mlp.factors.bias[3] = 1e-3
        mlp.by_latitude[1, 0] = 2e-3
        mlp.mix.weight[:] = 1e3 * torch.eye(2)
    x = torch.randn(1, 2, *GRID.shape, dtype=torch.float64)
    square, force = mlp(x)[0]
    sine = torch.sin(torch.deg2rad(GRID.latitude))[:, None]
    torch.testing.assert_close(square, x[0, 0] ** 2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(force, x[0, 0] * (2 * sine + 1), rtol=1e-5, atol=1e-5)


def test_a_block_grows_no_faster_than_its_input():
    mlp = GatedMLP(4, 6, GRID).double()
    x = torch.randn(1, 4, *GRID.shape, dtype=torch.float64)
    with torch.no_grad():
        small, large = (float(mlp(size * x).norm()) for size in (1e3, 1e6))
    assert large == pytest.approx(1e3 * small, rel=0.01)


@pytest.mark.parametrize("piece", [1, 3 * 6 * 24 * 5, 1 << 30])  # 1, 5 and all of the rows
def test_pieces_agree_with_the_whole(piece, monkeypatch):
    monkeypatch.setattr(gated, "_PIECE", piece)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    mlp = GatedMLP(4, 6, GRID).double()
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.normal_()
    x = torch.randn(3, 4, *GRID.shape, dtype=torch.float64, requires_grad=True)
    wanted = [x, *mlp.parameters()]
    weights = torch.randn_like(x)
    found, expected = mlp(x), Gated.forward(mlp, x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), wanted),
        torch.autograd.grad((expected * weights).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_fields_that_are_not_contiguous_are_taken():
    mlp = GatedMLP(4, 6, GRID)
    x = torch.randn(3, *GRID.shape, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(mlp(x), Gated.forward(mlp, x))
    torch.testing.assert_close(mlp(x), mlp(x.contiguous()))


def test_nothing_between_is_kept_for_the_backward_pass():
    mlp, kept = GatedMLP(4, 60, GRID), []
    x = torch.randn(1, 4, *GRID.shape, requires_grad=True)

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        mlp(x)
    assert max(kept) == x.numel()
