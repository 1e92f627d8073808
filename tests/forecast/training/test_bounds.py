"""Refusal of invalid sizes, by the name of their key, before anything is built."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from configs.load import load_config
from forecast.model.build import build_network
from forecast.training.bounds import check_bounds, least_activations, weights
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import integral_filters, smallest_cutoff
from tests.workflow import Workflow

GRID = Grid.legendre_gauss(16, 32)
CPU = torch.device("cpu")

REFUSED = {
    "model.branches.spectral.lmax=100000": "lmax is 100000, but a grid of 16 rows .* at most 16",
    "model.branches.integral.theta_cutoff=0.001": "theta_cutoff is 0.001, .* take at least 0.1",
    "model.branches.integral.kernel_shape=[99, 99]": r"kernel_shape \[99, 99\] has more basis func",
    "model.channels=200000": r"2,120,0.* weights \(model.channels 200000.* takes at least 25,4",
    "training.batch_size=10000000": "a batch of 10000000 windows does not fit in the memory of cpu",
    "model.blocks=100000000": "takes at least .* GB in training, and cpu has",
    "model.mlp_ratio=1e9": "takes at least .* GB in training, and cpu has",
}


@pytest.mark.parametrize("override", REFUSED)
def test_a_size_that_cannot_work_is_refused_by_name(override: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[override]) as error:
        check_bounds(load_config("swe_smoke", [override]), GRID, CPU)
    assert "\n" not in str(error.value)


def test_the_grid_of_the_blocks_bounds_the_degrees() -> None:
    settings = ["model.grid={nlat: 12, nlon: 24}", "model.branches.spectral.lmax=13"]
    with pytest.raises(ValueError, match="take at most 12"):
        check_bounds(load_config("swe_smoke", settings), GRID, CPU)


@pytest.mark.parametrize("name", ["swe_smoke", "swe_demo", "swe", "sst", "reanalysis_smoke"])
def test_the_presets_are_within_the_bounds(name: str) -> None:
    config = load_config(name)
    grid = config.data.grid
    check_bounds(config, Grid.of(**grid.model_dump()) if grid else Grid.cell_centred(90, 180), CPU)


@pytest.mark.parametrize(
    ("shape", "basis"),
    [((3, 3), "piecewise linear"), ((5, 4), "piecewise linear"), ((3, 1), "piecewise linear"),
     ((3, 3), "harmonic"), ((3,), "zernike")],
)  # fmt: skip
@pytest.mark.parametrize("grid", [GRID, Grid.cell_centred(12, 24)], ids=str)
def test_at_the_smallest_cutoff_no_filter_is_empty(
    grid: Grid, shape: tuple[int, ...], basis: str
) -> None:
    cutoff = smallest_cutoff(grid, shape, basis)
    for radius, complete in ((cutoff, True), (cutoff / 1.03, False)):
        filters = integral_filters(grid, grid, radius, shape, basis)
        used = filters.values.abs().amax(dim=(2, 3)) > 0  # (k, h)
        assert used.all().item() is complete


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.branches.spectral.complex=true", "model.channels=48"],
        ["model.channels=48", "model.branches.differential.order=2"],
    ],
)
def test_the_weights_that_are_counted_are_those_of_the_network(overrides: list[str]) -> None:
    config = load_config("swe_smoke", overrides)
    network = build_network(config.model, 5, 3, GRID)
    blocks = sum(p.numel() for p in network.blocks.parameters())
    assert weights(config.model) == pytest.approx(blocks, rel=0.01)  # biases are left out


def test_what_saves_memory_counts() -> None:
    settings = ["training.batch_size=64", "training.rollout_steps=4"]
    most = least_activations(load_config("swe_smoke", settings), GRID)
    for option in ("checkpoint_blocks", "checkpoint_steps"):
        saved = [*settings, f"training.{option}=true"]
        assert least_activations(load_config("swe_smoke", saved), GRID) < most / 3


def test_a_model_that_does_not_fit_is_refused_in_one_line(
    workflow: Workflow, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    run = tmp_path / "run"
    monkeypatch.setattr("forecast.model.build.LocalSFNO", failing)
    line = refused("train", "swe_smoke", "--data", workflow.store, "--out", run)
    assert "model.channels 8 and model.blocks 2 does not fit in the memory of cpu; make" in line
    assert not run.exists()


def test_any_failed_allocation_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    words = ("data", "swe", "swe_smoke", "data.grid.nlat=200000", "--out", tmp_path / "store.zarr")
    assert "out of memory" in refused(*words)
    assert list(tmp_path.iterdir()) == []
