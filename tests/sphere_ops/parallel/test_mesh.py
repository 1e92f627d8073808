"""Layers and transforms in a mesh: results of one process, two exchanges, memory per rank."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sphere_ops.branches.block import LocalSphericalConv
from sphere_ops.engine import plan
from sphere_ops.engine.plan import ConvolutionSpec
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import IntegralFilter
from sphere_ops.parallel.mesh import Mesh, use
from sphere_ops.parallel.partition import Shard
from tests.ranks import run
from tests.sphere_ops.parallel import mesh_cases

pytestmark = pytest.mark.parallel
RANKS = (1, 2, 3, 4)
TOLERANCE = {"torch.float64": 1e-10, "torch.float32": 1e-5}


@pytest.fixture(scope="module")
def alone() -> dict[str, mesh_cases.Results]:
    return mesh_cases.results()


@pytest.fixture(scope="module", params=RANKS)
def ranks(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[list[Any]]:
    """Results of every rank of a mesh."""
    path = tmp_path_factory.mktemp("mesh") / "found"
    run(request.param, mesh_cases.all_of_it, path, "float32")
    yield [torch.load(f"{path}.{rank}") for rank in range(request.param)]


def assert_same(found: mesh_cases.Results, expected: mesh_cases.Results, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = (found[name] - value).abs().max() / value.abs().max()
        assert error <= tolerance, f"{name}: {error:.2g}"


def test_a_mesh_computes_what_one_process_does(ranks, alone):
    for name, expected in alone.items():
        assert_same(ranks[0]["results"][name], expected, TOLERANCE[name.rpartition(", ")[2]])


def test_every_rank_has_the_same_sums(ranks):
    for name in ranks[0]["results"]:
        for of in ranks[1:]:
            for key, value in of["results"][name].items():
                if key.startswith("gradient of") or key in ("spectrum", "mean"):
                    assert torch.equal(value, ranks[0]["results"][name][key])


def test_a_block_takes_two_exchanges_in_each_direction_and_nothing_else(ranks):
    if len(ranks) == 1:
        for of in ranks:
            assert of["traffic"] == {"forward": [], "backward": []}
        return
    for of in ranks:
        for direction in ("forward", "backward"):
            assert [name for name, _ in of["traffic"][direction]] == ["all_to_all_single"] * 2


def bytes_of_the_formula(shard: Shard, size: int) -> dict[str, list[int]]:
    """Return bytes of 2 b c h (m − k) numbers to wavenumbers, and 2 b o k (n − h) to rows.

    The backward pass exchanges c and o.
    """
    (b, c, o), grid = mesh_cases.BLOCK, mesh_cases.TRAFFIC_GRID
    m = grid.nlon // 2 + 1
    h, k = shard.n_rows(grid.nlat), shard.orders(m, 9).count
    over, back = h * (m - k), k * (grid.nlat - h)
    return {
        "forward": [2 * b * c * over * size, 2 * b * o * back * size],
        "backward": [2 * b * o * over * size, 2 * b * c * back * size],
    }


def assert_bytes(found: dict[str, list[tuple[str, int]]], shard: Shard, size: int) -> None:
    sent = {direction: [n for _, n in calls] for direction, calls in found.items()}
    assert sent == bytes_of_the_formula(shard, size)


def test_the_bytes_of_an_exchange_are_those_of_the_formula(ranks):
    for rank, of in enumerate(ranks if len(ranks) > 1 else []):
        assert_bytes(of["traffic"], Shard(rank, len(ranks)), 4)


def test_bf16_on_the_wire_costs_its_rounding_and_nothing_in_float64(tmp_path, alone):
    path = tmp_path / "found"
    run(2, mesh_cases.all_of_it, path, "bf16")
    found = torch.load(f"{path}.0")
    for name, expected in alone.items():
        # bfloat16 rounds by 4e-3 relative to the largest values, and some of them cancel.
        exact = name.endswith("float64")
        assert_same(found["results"][name], expected, 1e-10 if exact else 4e-2)
    assert_bytes(found["traffic"], Shard(0, 2), 2)


# --- memory --------------------------------------------------------------------------------------

LARGE = Grid.legendre_gauss(256, 512)
CUTOFF = 0.03


def table_bytes(shard: Shard) -> int:
    spec = ConvolutionSpec(
        LARGE, LARGE, 128, (IntegralFilter(CUTOFF, (2, 2), "piecewise linear", "nodal"),)
    )
    of = torch.float32, torch.device("cpu"), shard
    t, spectral = plan.tables(spec, *of), plan.spectral_products(spec, *of)
    tensors = [part.table for side in (spectral.analysis, spectral.synthesis)
               for block in side.blocks for part in block.parts]  # fmt: skip
    tensors += [m for banded in (t.real, t.imag) if banded
                for m in (banded.matrix, banded.transposed)]  # fmt: skip
    return sum(x.numel() * x.element_size() for x in tensors)


def saved_bytes(shard: Shard) -> int:
    """Return the bytes that a block and its pointwise functions save for the backward pass."""
    branches = {
        "spectral": {"lmax": 128},
        "integral": {"theta_cutoff": CUTOFF, "kernel_shape": (2, 2)},
    }
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.nn.Parameter):
            kept[id(x)] = x.numel() * x.element_size()
        return x

    with use(Mesh(latitude=shard)):
        layer = LocalSphericalConv(64, 64, LARGE, branches)
        with FakeTensorMode(allow_non_fake_inputs=True):
            x = torch.empty(1, 64, shard.n_rows(LARGE.nlat), LARGE.nlon, requires_grad=True)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                y = torch.nn.functional.gelu(layer(x) + x)
            assert y.shape == x.shape
    weights = 64 * 64 * 128 * 4 + 64 * 64 * 4 * 4 * 4
    return sum(kept.values()) - weights


def kept_bytes(shard: Shard) -> int:
    """Return the bytes that a new layer keeps alive, without its weights."""
    before = {id(x): x for x in gc.get_objects() if type(x) is torch.Tensor}  # none is reused
    grid = Grid.legendre_gauss(64, 128)
    with use(Mesh(latitude=shard)):
        layer = LocalSphericalConv(
            1, 1, grid, {"integral": {"theta_cutoff": 0.15}, "differential": {"order": 2}}
        )
    gc.collect()
    tensors = [x for x in gc.get_objects() if type(x) is torch.Tensor and id(x) not in before]
    assert len(list(layer.parameters())) == 2
    return sum(x.numel() * x.element_size() for x in tensors)


@pytest.mark.parametrize("measured", [table_bytes, saved_bytes, kept_bytes])
def test_memory_falls_as_one_over_the_ranks(measured):
    whole = measured(Shard())
    for ranks in (2, 4):
        largest = max(measured(Shard(rank, ranks)) for rank in range(ranks))
        assert 0.85 * whole / ranks <= largest <= 1.15 * whole / ranks
