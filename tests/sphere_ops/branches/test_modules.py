"""Layers as PyTorch modules: device, dtype, new weights, printing, memory."""

import copy
import gc
import pickle
from functools import partial
from weakref import ref

import pytest
import torch
from torch import nn

from sphere_ops import Grid, InverseRealSHT, LocalSphericalConv, RealSHT
from sphere_ops.branches import block
from sphere_ops.engine.legendre_tables import LegendreTables
from sphere_ops.engine.plan import Tables
from tests.sphere_ops.branches.test_against_reference import BRANCHES, CASES

GRID = Grid.cell_centred(10, 20)
LAYERS = {name: partial(block.BRANCHES[name], 3, 2, GRID, **BRANCHES[name]) for name in BRANCHES}
LAYERS["block"] = partial(LocalSphericalConv, 3, 2, GRID, CASES["all, complex"])


@pytest.mark.parametrize("name", LAYERS)
def test_weights_are_made_on_a_device_and_in_a_dtype(name):
    layer = LAYERS[name](dtype=torch.float64)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert {p.device.type for p in LAYERS[name](device="meta").parameters()} == {"meta"}


@pytest.mark.parametrize("name", LAYERS)
def test_reset_parameters_draws_the_weights_of_a_new_layer(name):
    torch.manual_seed(3)
    layer = LAYERS[name]()
    drawn = [p.detach().clone() for p in layer.parameters()]
    layer.reset_parameters()
    assert not any(torch.equal(p, q) and p.any() for p, q in zip(layer.parameters(), drawn))  # noqa: B905
    torch.manual_seed(3)
    layer.reset_parameters()
    for p, q in zip(layer.parameters(), drawn, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


def test_a_printed_layer_shows_its_settings():
    text = repr(LAYERS["block"]())
    assert "LocalSphericalConv(\n  3, 2, cell-centred 10×20" in text
    for part in ("lmax=8, complex=True", "theta_cutoff=0.7", "order=2, length_scale=0.1"):
        assert part in text


def test_lmax_and_mmax_default_to_what_the_grid_holds_exactly():
    for grid in (Grid.legendre_gauss(8, 24), Grid.equiangular(9, 24), Grid.legendre_gauss(8, 10)):
        sht = RealSHT(grid)
        assert sht.lmax == sht.mmax == grid.exact_lmax
        coeffs = sht(torch.randn(3, *grid.shape, dtype=torch.float64))
        again = sht(InverseRealSHT(grid)(coeffs))
        torch.testing.assert_close(again, coeffs, rtol=0, atol=1e-12)
    assert RealSHT(Grid.legendre_gauss(8, 10), 8).mmax == 5


def alive() -> set[ref]:
    gc.collect()
    return {ref(x) for x in gc.get_objects() if type(x) in (Tables, LegendreTables)}


def test_deleting_the_last_layer_frees_the_tables():
    before = alive()
    grid = Grid.cell_centred(11, 23)  # of no other test
    model = nn.Sequential(*(LocalSphericalConv(2, 2, grid, BRANCHES) for _ in range(2)))
    transform = RealSHT(grid, 7, 7)  # of the degrees of the spectral branch
    x = torch.randn(1, 2, *grid.shape)
    model(x)
    transform(x)
    made = alive() - before
    assert [type(r()) for r in made].count(Tables) == 1
    assert [type(r()) for r in made].count(LegendreTables) == 1  # both transforms, all layers
    del model
    assert [type(r()) for r in alive() - before] == [LegendreTables]
    del transform
    assert not alive() - before


def test_moving_a_layer_leaves_no_tables_behind_and_makes_exact_ones():
    before = alive()
    grid = Grid.cell_centred(11, 24)
    layer = LocalSphericalConv(2, 2, grid, BRANCHES)
    x = torch.randn(1, 2, *grid.shape, dtype=torch.float64)
    layer(x.float())
    assert alive() - before
    layer.double()
    assert not alive() - before
    y = layer(x)
    expected = copy.deepcopy(layer)(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    assert {r().quadrature.dtype for r in alive() - before if type(r()) is LegendreTables} == {
        torch.float64
    }


def test_copies_and_pickles_share_the_tables():
    layer = LAYERS["block"]()
    x = torch.randn(1, 3, *GRID.shape)
    expected = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other._tables is layer._tables
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
