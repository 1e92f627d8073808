"""Block: the sum of its branches, gradients, memory layouts, and wrong input."""

import copy

import pytest
import torch
from torch import Tensor

from sphere_ops import DifferentialConv, IntegralConv, LocalSphericalConv, SpectralConv
from sphere_ops.grid import Grid
from sphere_ops.harmonics.transforms import InverseRealSHT
from tests.sphere_ops.branches.test_against_reference import BRANCHES, CASES
from tests.sphere_ops.exact import random_coeffs
from tests.sphere_ops.layers import GRID, assert_all_close, block, field, gradients


def test_it_is_the_sum_of_its_branches_in_any_order_of_naming():
    layer = block().double()
    x = field()
    alone = sum(branch(x) for branch in layer.branches.values())
    torch.testing.assert_close(layer(x), alone, rtol=0, atol=1e-12)
    reordered = block(dict(reversed(CASES["all, complex"].items()))).double()
    reordered.load_state_dict(layer.state_dict())
    torch.testing.assert_close(reordered(x), layer(x), rtol=0, atol=1e-12)


def test_a_branch_that_is_not_named_does_not_exist():
    layer = block({"integral": BRANCHES["integral"]})
    assert list(layer.branches) == ["integral"] and len(list(layer.parameters())) == 1


def test_the_state_is_the_weights_and_fits_any_grid():
    layer = block().double()
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "branches.spectral.weight": (2, 3, 8, 2),
        "branches.integral.weight": (2, 3, 4),
        "branches.differential.weight": (2, 3, 5),
    }
    other = LocalSphericalConv(3, 2, Grid.equiangular(20, 40), branches=CASES["all, complex"])
    other.load_state_dict(layer.state_dict())


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    grid = Grid.equiangular(6, 7)
    branches = {k: dict(v) for k, v in CASES[name].items()}
    if "spectral" in branches:
        branches["spectral"]["lmax"] = 3
    layer = LocalSphericalConv(2, 1, grid, branches=branches).double()
    x = torch.randn(1, 2, *grid.shape, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *weights), fast_mode=True)


def test_second_derivatives_are_refused_and_not_wrong():
    layer = block().double()
    x = field().requires_grad_()
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.square().sum(), x)


def test_gradients_are_asked_of_the_input_of_the_weights_of_both_or_of_none():
    layer = block().double()
    x, direction = field(), torch.randn(2, 2, *GRID.shape, dtype=torch.float64)
    expected = gradients(layer, x, direction)
    (by_input,) = torch.autograd.grad(
        (
            copy.deepcopy(layer).requires_grad_(False)(y := x.clone().requires_grad_()) * direction
        ).sum(),
        y,
    )
    torch.testing.assert_close(by_input, expected[0], rtol=0, atol=1e-12)
    by_weights = torch.autograd.grad((layer(x) * direction).sum(), list(layer.parameters()))
    assert_all_close(by_weights, expected[1:], 1e-12)
    only = layer.branches["integral"].weight
    for parameter in layer.parameters():
        parameter.requires_grad_(parameter is only)
    (by_one,) = torch.autograd.grad((layer(x) * direction).sum(), only)
    torch.testing.assert_close(by_one, expected[2], rtol=0, atol=1e-12)
    assert not layer.requires_grad_(False)(x).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer(x.requires_grad_()).detach(), rtol=0, atol=0)
    with torch.inference_mode():
        layer(field())


def test_the_gradient_of_a_batch_is_the_sum_over_it():
    layer = block().double()
    x, direction = field(3), torch.randn(3, 2, *GRID.shape, dtype=torch.float64)
    whole = gradients(layer, x, direction)
    parts = [gradients(layer, x[i : i + 1], direction[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(whole[0], torch.cat([p[0] for p in parts]), rtol=0, atol=1e-11)
    sums = [torch.stack(p).sum(0) for p in list(zip(*parts, strict=True))[1:]]
    assert_all_close(whole[1:], sums, 1e-10)


def test_memory_layout_does_not_matter():
    layer = block().double()
    x, direction = field(), torch.randn(2, 2, *GRID.shape, dtype=torch.float64)
    expected = [layer(x), *gradients(layer, x, direction)]
    for view in (
        x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        x.mT.contiguous().mT,
        torch.stack((x, -x), dim=-1)[..., 0],
        torch.cat((x, x), dim=1)[:, :3],
    ):
        assert not view.is_contiguous()
        for other in (
            direction,
            direction.mT.contiguous().mT,
            direction[:1, :1].expand(2, 2, -1, -1),
        ):
            found = [layer(view), *gradients(layer, view, other)]
            if other.stride() != direction.stride() and 0 in other.stride():
                expected_here = [layer(x), *gradients(layer, x, other.contiguous())]
            else:
                expected_here = expected
            assert_all_close(found, expected_here, 1e-11)
    one = field(1, 1).expand(2, 3, -1, -1)
    torch.testing.assert_close(layer(one), layer(one.contiguous()), rtol=0, atol=1e-12)


def test_the_input_is_left_alone():
    layer = block().double()
    x = field()
    before = x.clone()
    gradients(layer, x, torch.ones(2, 2, *GRID.shape, dtype=torch.float64))
    assert torch.equal(x, before)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("channels", "channels_out"), [(1, 1), (1, 4), (4, 1), (2, 7)])
def test_fields_of_a_batch_do_not_see_each_other(batch, channels, channels_out):
    layer = block(channels=channels, channels_out=channels_out).double()
    x = field(batch, channels)
    single = torch.cat([layer(x[i : i + 1]) for i in range(batch)])
    torch.testing.assert_close(layer(x), single, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BRANCHES)
def test_an_empty_batch_gives_an_empty_batch_and_zero_gradients(name):
    layer = block({name: BRANCHES[name]})
    x = torch.zeros(0, 3, *GRID.shape, requires_grad=True)
    y = layer(x)
    assert y.shape == (0, 2, *GRID.shape)
    by_input, *by_weights = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert by_input.shape == x.shape
    assert all(torch.equal(g, torch.zeros_like(g)) for g in by_weights)


# --- types ----------------------------------------------------------------------------------------


def test_the_weights_start_with_about_the_variance_of_the_input():
    torch.manual_seed(0)
    grid = Grid.legendre_gauss(32, 64)
    branches = {"spectral": {"lmax": 16}, "integral": {"theta_cutoff": 0.3}}
    layer = LocalSphericalConv(48, 48, grid, branches=branches)
    coeffs = random_coeffs(1, 48, 16, 16).to(torch.complex64)
    x = InverseRealSHT(grid, lmax=16, mmax=16)(coeffs)
    assert 0.3 < float(layer(x).detach().var() / x.var()) < 1.3


# --- what a user can get wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ({}, r"branches \[\]; expected one or more of spectral, integral, differential"),
        ({"spectrum": {"lmax": 4}}, r"\['spectrum'\]; expected one or more of spectral"),
        ("spectral", "'spectral'; expected one or more of spectral, integral"),
        ({"spectral": {"lmx": 4}}, r"\['lmx'\] of the spectral branch; expected lmax, complex"),
        ({"spectral": {}}, "the spectral branch has no lmax; expected lmax, complex"),
        ({"spectral": 4}, "settings 4 of the spectral branch; expected lmax"),
        ({"integral": {}}, "the integral branch has no theta_cutoff; expected theta_cutoff, kern"),
        ({"differential": {"order": 5}}, "order 5; expected 1 or 2"),
        ({"spectral": {"lmax": 10}}, "lmax 10 from the grid legendre-gauss 9×16.*1 to 9"),
    ],
)
def test_wrong_branches_are_refused_in_one_sentence(branches, message):
    with pytest.raises(ValueError, match=message) as caught:
        LocalSphericalConv(3, 2, GRID, branches=branches)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layer", [SpectralConv, IntegralConv, DifferentialConv])
@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ((0, 2), "in_channels 0; expected 1 or more"),
        ((2, -1), "out_channels -1; expected 1 or more"),
        ((2.5, 2), "in_channels 2.5; expected a whole number"),
    ],
)
def test_wrong_numbers_of_channels_are_refused(layer, channels, message):
    settings = {SpectralConv: {"lmax": 4}, IntegralConv: {"theta_cutoff": 0.5}}.get(layer, {})
    with pytest.raises(ValueError, match=message):
        layer(*channels, GRID, **settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 16, 9), r"\(2, 3, 16, 9\).*legendre-gauss 9×16; resample"),
        (torch.zeros(2, 4, 9, 16), "4 channels; expected 3"),
        (torch.zeros(3, 9, 16), r"\(3, 9, 16\); expected \(batch, channel, nlat, nlon\)"),
        (torch.zeros(2, 3, 9, 16, dtype=torch.int32), "int32; expected a real floating"),
        (torch.zeros(2, 3, 9, 16, dtype=torch.complex64), "complex64; expected a real floating"),
    ],
)
def test_wrong_input_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        block()(x)


def test_a_differential_branch_does_not_change_the_grid():
    with pytest.raises(ValueError, match="DifferentialConv from .* to .*use the spectral"):
        block(grid_out=Grid.legendre_gauss(12, 24))
