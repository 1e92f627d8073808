import copy
import math

import pytest
import torch
from torch import nn

from forecast.training.muon import Muon, orthogonalized, stack
from forecast.training.optimizer import RATE_FACTOR, make_optimizer
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.branches.spectral import SpectralConv
from sphere_ops.grid import Grid

GRID = Grid.legendre_gauss(8, 16)


@pytest.mark.parametrize("shape", [(5, 6, 6), (5, 4, 9), (5, 9, 4), (1, 1, 7)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_orthogonalised_matrices_have_the_singular_vectors_and_singular_values_of_about_one(
    shape, dtype
):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype)
    u, values, v = torch.linalg.svd(x, full_matrices=False)
    y = u.mH @ orthogonalized(x) @ v.mH
    diagonal = torch.diagonal(y, dim1=1, dim2=2)
    assert (y - torch.diag_embed(diagonal)).abs().max() < 1e-12
    assert diagonal.imag.abs().max() < 1e-12 if dtype.is_complex else True
    well = values / torch.linalg.norm(values, dim=1, keepdim=True) > 0.02
    assert diagonal.real[well].min() > 0.65 and diagonal.real[well].max() < 1.25


def test_a_matrix_moves_as_torchs_muon_moves_it():
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(6, 10, dtype=torch.float64))
    theirs = copy.deepcopy(ours)
    optimizer = Muon([{"params": [ours], "matrices": "real"}], lr=0.05, weight_decay=0.1)
    peer = torch.optim.Muon(
        [theirs], lr=0.05, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(4):
        ours.grad = torch.randn(6, 10, dtype=torch.float64)
        theirs.grad = ours.grad.clone()
        optimizer.step()
        peer.step()
    # torch computes the iterations in bfloat16
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=0, atol=4 * 0.05 * 0.02)
    assert (ours - theirs).abs().max() > 0


@pytest.mark.parametrize("rest", [(), (3,), (2, 2)])
def test_each_matrix_of_a_stack_moves_by_itself(rest):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 5, *rest))
    parts = [nn.Parameter(m.clone()) for m in stack(weight.detach(), False)]
    whole = Muon([{"params": [weight], "matrices": "real"}])
    alone = Muon([{"params": parts, "matrices": "real"}])
    for _ in range(3):
        weight.grad = torch.randn_like(weight)
        for part, gradient in zip(parts, stack(weight.grad, False), strict=True):
            part.grad = gradient.clone()
        whole.step()
        alone.step()
    expected = torch.stack([part.detach() for part in parts])
    torch.testing.assert_close(stack(weight.detach(), False), expected)


def test_pairs_of_real_numbers_move_as_complex_ones():
    torch.manual_seed(0)
    of = nn.Parameter(torch.randn(4, 5, 3, dtype=torch.complex128))
    pairs = nn.Parameter(torch.view_as_real(of.detach()).clone())
    optimizer = Muon([{"params": [of, pairs], "matrices": "complex"}])
    before = of.detach().clone()
    for _ in range(3):
        of.grad = torch.randn_like(of)
        pairs.grad = torch.view_as_real(of.grad).clone()
        optimizer.step()
    assert (of - before).abs().min() > 0
    torch.testing.assert_close(torch.view_as_real(of.detach()), pairs.detach())


def test_an_update_has_the_size_of_the_learning_rate():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(32, 48, 7))
    weight.grad = torch.randn_like(weight) * 1e-4
    Muon([{"params": [weight], "matrices": "real"}], lr=0.5).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 0.5, rel=0.2)


def test_what_is_no_matrix_moves_as_with_adamw():
    torch.manual_seed(0)
    vector, matrix = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5, 5))
    other = copy.deepcopy(vector)
    optimizer = Muon(
        [{"params": [vector]}, {"params": [matrix], "matrices": "real"}], lr=0.1, weight_decay=0.1
    )
    peer = torch.optim.AdamW([other], lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(3):
        for parameter in (vector, matrix):
            parameter.grad = torch.randn_like(parameter)
        assert vector.grad is not None
        other.grad = vector.grad.clone()
        optimizer.step()
        peer.step()
    torch.testing.assert_close(vector.detach(), other.detach())


def test_no_gradient_no_change_and_the_closures_loss_is_returned():
    weight = nn.Parameter(torch.ones(3, 3))
    optimizer = Muon([{"params": [weight], "matrices": "real"}], weight_decay=0.1)
    assert optimizer.step(lambda: 7.0) == 7.0
    assert torch.equal(weight.detach(), torch.ones(3, 3)) and not optimizer.state


def test_a_saved_state_continues_to_the_same_weights():
    def steps(parameters: list[nn.Parameter], optimizer: Muon, first: int, last: int) -> None:
        for step in range(first, last):
            torch.manual_seed(step)
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()

    def made(parameters: list[nn.Parameter]) -> Muon:
        matrix, vector = parameters
        return Muon([{"params": [matrix], "matrices": "real"}, {"params": [vector]}])

    torch.manual_seed(0)
    whole = [nn.Parameter(torch.randn(3, 4, 2)), nn.Parameter(torch.randn(3))]
    optimizer = made(whole)
    steps(whole, optimizer, 0, 3)
    resumed = copy.deepcopy(whole)
    other = made(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(whole, optimizer, 3, 5)
    steps(resumed, other, 3, 5)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a, b)


def test_weights_are_matrices_and_other_parameters_are_not():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real = SpectralConv(3, 2, GRID, lmax=4)
            self.complex = SpectralConv(3, 2, GRID, lmax=4, complex=True)
            self.integral = IntegralConv(3, 2, GRID, theta_cutoff=1.0)
            self.linear = nn.Linear(3, 2)
            self.embedding = nn.Parameter(torch.zeros(3, 8, 16))

    net = Net()
    optimizer, choice = make_optimizer("muon", net, 1e-2, weight_decay=0.5)
    assert isinstance(optimizer, Muon) and choice.name == "Muon"
    names = {id(p): name for name, p in net.named_parameters()}
    groups = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    assert {name: group["matrices"] for name, group in groups.items()} == {
        "real.weight": "real",
        "complex.weight": "complex",
        "integral.weight": "real",
        "linear.weight": "real",
        "linear.bias": None,
        "embedding": None,
    }
    assert groups["linear.bias"]["weight_decay"] == 0 and groups["embedding"]["weight_decay"] == 0.5
    assert math.isclose(groups["integral.weight"][RATE_FACTOR], 1 / net.integral.k)
