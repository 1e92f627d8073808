"""Block in every floating-point type, under autocast, and in every product precision."""

import copy

import pytest
import torch
from torch import nn

from sphere_ops.precision import get_product_precision, set_product_precision
from tests.sphere_ops.layers import GRID, assert_all_close, block, field, gradients

pytestmark = pytest.mark.isa


def test_float64_input_is_computed_in_float64_whatever_the_weights():
    layer = block()
    x = field()
    y = layer(x)
    assert y.dtype == torch.float64
    exact = copy.deepcopy(layer).double()
    torch.testing.assert_close(y, exact(x), rtol=0, atol=1e-12)
    direction = torch.randn_like(y)
    found, expected = gradients(layer, x, direction), gradients(exact, x, direction)
    assert [g.dtype for g in found] == [torch.float64] + [torch.float32] * 3
    assert_all_close([found[0]], [expected[0]], 1e-12)
    for a, b in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, b.float(), rtol=1e-6, atol=1e-5)


def test_single_precision_agrees_with_double():
    layer = block()
    x, direction = field(), torch.randn(2, 2, *GRID.shape, dtype=torch.float64)
    expected = [layer(x), *gradients(layer, x, direction)]
    found = [layer(x.float()), *gradients(layer, x.float(), direction.float())]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b.float(), rtol=0, atol=1e-5 * float(b.detach().abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_is_computed_in_single_and_returned_in_half(dtype):
    layer = block()
    x = field(dtype=torch.float32).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, layer(x.float()).to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_inside(dtype):
    layer, x = block(), field().to(dtype)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_gradients_taken_under_autocast_are_those_without():
    layer, x = block(), field(dtype=torch.float32)
    direction = torch.randn(2, 2, *GRID.shape)
    expected = gradients(layer, x, direction)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(layer, x, direction)
    assert_all_close(found, expected, 0)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_products_keep_the_precision_that_is_set(precision):
    layer, x = block(), field(dtype=torch.float32)
    direction = torch.randn(2, 2, *GRID.shape)
    exact = [layer(x.double()), *gradients(layer, x.double(), direction.double())]
    try:
        set_product_precision(precision)
        found = [layer(x), *gradients(layer, x, direction)]
        in_double = layer(x.double())
    finally:
        set_product_precision("float32")
    torch.testing.assert_close(in_double, exact[0], rtol=0, atol=0)  # untouched
    tolerance = 2e-2 if precision == "bf16" else 1e-5  # tf32 is a GPU's
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == torch.float32
        scale = float(b.detach().abs().max())
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=tolerance * scale)
    if precision == "bf16":
        assert (found[0] - exact[0]).abs().max() > 1e-5 * exact[0].detach().abs().max()


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'float16'; expected one of float32, tf32, bf16"):
        set_product_precision("float16")
    assert get_product_precision() == "float32"


def test_a_layer_between_pointwise_ones_trains_under_autocast():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), block(), nn.GELU(), nn.Conv2d(2, 1, 1))
    x = field(channels=1, dtype=torch.float32)
    model(x).square().mean().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(x).square().mean()
    loss.backward()
    for p, b in zip(model.parameters(), expected, strict=True):
        # bfloat16 keeps 8 bits, and two of its layers stand in a row.
        torch.testing.assert_close(p.grad, b, rtol=0, atol=0.05 * float(b.abs().max()))
