import importlib
import sys

import pytest
import torch
from torch import nn

from forecast.training.optimizer import (
    RATE_FACTOR,
    WeightAverage,
    apex_refusal,
    learning_rate_factor,
    make_optimizer,
    optimizer_report,
)
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.grid import Grid


@pytest.fixture
def fake_apex(tmp_path, monkeypatch):
    """Function that writes a package `apex` and puts it first on the import path."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / "apex" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    for name in [n for n in sys.modules if n.split(".")[0] == "apex"]:
        monkeypatch.delitem(sys.modules, name)
    yield write
    for name in [n for n in sys.modules if n.split(".")[0] == "apex"]:
        del sys.modules[name]


STAND_IN = """
import torch
class FusedAdam(torch.optim.Adam):
    pass
class FusedLAMB(torch.optim.Adam):
    def __init__(self, *args, **kwargs):
        raise RuntimeError("apex.optimizers.FusedLAMB requires cuda extensions\\nand more")
"""


def test_apex_is_used_where_it_can_be_constructed(fake_apex):
    fake_apex({"__init__.py": "", "optimizers/__init__.py": STAND_IN})
    optimizer, choice = make_optimizer("apex-adam", nn.Linear(2, 2), 1e-3)
    assert type(optimizer).__name__ == "FusedAdam"
    assert (choice.name, choice.reason) == ("apex.FusedAdam", "")
    assert optimizer_report()["apex-adam"] == "available"


def test_apex_without_its_extensions_gives_way_to_torch_with_the_reason(fake_apex):
    fake_apex({"__init__.py": "", "optimizers/__init__.py": STAND_IN})
    optimizer, choice = make_optimizer("apex-lamb", nn.Linear(2, 2), 1e-3)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert "FusedLAMB cannot be constructed" in choice.reason
    assert choice.reason.endswith("requires cuda extensions")


@pytest.mark.parametrize("first_line", ["", "import pyramid_of_the_web_toolkit"])
def test_the_unrelated_apex_of_the_package_index_is_recognised(fake_apex, first_line):
    fake_apex({"__init__.py": first_line, "views.py": ""})
    _, choice = make_optimizer("apex-adam", nn.Linear(2, 2), 1e-3)
    assert choice.name == "torch.optim.AdamW (fused)"
    assert "unrelated web toolkit" in choice.reason and "NVIDIA/apex" in choice.reason


@pytest.mark.skipif(importlib.util.find_spec("apex") is not None, reason="some apex is installed")
def test_an_absent_apex_is_said_to_be_absent():
    assert "not installed" in apex_refusal("FusedAdam")
    assert "not installed" in optimizer_report()["apex-lamb"]


def test_biases_are_not_decayed():
    layer = nn.Linear(3, 2)
    optimizer, _ = make_optimizer("adamw", layer, 1e-2, weight_decay=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), weight * (1 - 1e-2 * 0.5))
    assert torch.equal(layer.bias.detach(), bias)


def test_filters_of_an_integral_branch_move_as_far_together_as_one_weight():
    conv = IntegralConv(3, 2, Grid.legendre_gauss(8, 16), theta_cutoff=1.0)
    layer = nn.Sequential(conv, nn.Conv2d(2, 2, 1))
    optimizer, _ = make_optimizer("adamw", layer, 1e-2)
    factors = {id(p): g[RATE_FACTOR] for g in optimizer.param_groups for p in g["params"]}
    assert factors.pop(id(conv.weight)) == 1 / conv.k and conv.k > 1
    assert set(factors.values()) == {1.0} and len(factors) == 2


def test_learning_rate_rises_to_its_value_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0
    assert all(a < b for a, b in zip(factors[:9], factors[1:10], strict=True))
    assert all(a > b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert learning_rate_factor(55, 100, 0.1) == pytest.approx(0.5)
    assert 0 < factors[99] < 1e-3


def test_weight_average_is_the_exponential_mean_of_the_weights():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(5.0)
    average, expected = WeightAverage(layer, 0.5), 5.0
    for n, value in enumerate([1.0, 2.0, 4.0], start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update(layer)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    averaged = average.applied_to(layer)
    assert averaged.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 4.0
