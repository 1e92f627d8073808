"""Training, forecasts and scores in a mesh of processes: the numbers of one process."""

from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from forecast.checkpoint import load_training_state
from tests.forecast import mesh_runs
from tests.ranks import run

pytestmark = pytest.mark.parallel
MESHES = ((1, 2), (2, 1), (1, 3), (2, 2), (1, 4))
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def folder(make_store, tmp_path_factory) -> Path:
    """Two stores, and what one process makes of them."""
    path = tmp_path_factory.mktemp("parallel")
    make_store(path / "trajectories.zarr")
    make_store(path / "series.zarr", "files", mask=True)
    (path / "alone").mkdir()
    mesh_runs.everything(path, path / "alone", (1, 1))
    return path


@pytest.fixture(scope="module", params=MESHES, ids=lambda m: f"{m[0]}x{m[1]}")
def out(request: pytest.FixtureRequest, folder: Path) -> Path:
    """What a mesh makes of them."""
    data, latitude = request.param
    path = folder / f"{data}x{latitude}"
    path.mkdir()
    run(data * latitude, mesh_runs.everything, folder, path, request.param)
    return path


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    if not expected.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def test_ten_steps_are_those_of_one_process(out, folder):
    alone, found = torch.load(folder / "alone/steps"), torch.load(out / "steps")
    assert found.keys() == alone.keys()
    for (case, dtype), expected in alone.items():
        assert found[case, dtype].keys() == expected.keys()
        for name, value in expected.items():
            # The loss is added up in float32.
            tolerance = 1e-6 if name.startswith(("loss", "valid")) else 0.0
            assert error(found[case, dtype][name], value) <= max(tolerance, TOLERANCE[dtype]), (
                case, name,
            )  # fmt: skip


def test_a_package_is_the_same_on_every_mesh(out, folder):
    for name in ("package", "best"):
        file = f"run/{name}/model.safetensors"
        found, expected = load_file(out / file), load_file(folder / "alone" / file)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key].shape == value.shape
            assert error(found[key].double(), value.double()) <= 1e-5, key


def test_a_run_leaves_the_same_files_and_metrics(out, folder):
    files = [{p.name for p in (path / "run").iterdir()} for path in (out, folder / "alone")]
    assert files[0] == files[1]


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_rollout_of_20_steps_is_that_of_one_process(out, folder, suffix):
    def opened(path: Path) -> Any:
        file = path / f"forecast.{suffix}"
        return xr.open_zarr(file, consolidated=False) if suffix == "zarr" else xr.open_dataset(file)

    with opened(out) as found, opened(folder / "alone") as expected:
        assert found.sizes == expected.sizes
        for name, field in expected.data_vars.items():
            assert abs(found[name] - field).max() <= 1e-5 * abs(field).max(), name


def test_scores_are_those_of_one_process(out, folder):
    with (
        xr.open_dataset(out / "scores.nc") as found,
        xr.open_dataset(folder / "alone/scores.nc") as expected,
    ):
        xr.testing.assert_allclose(found, expected, rtol=1e-10)
    for path in (out, folder / "alone"):
        assert (path / "scores.md").is_file()


def test_a_run_goes_on_from_4_ranks_on_2_on_1_and_on_3(make_store, tmp_path):
    store = make_store(tmp_path / "store.zarr")
    mesh_runs.without_a_pause(store, tmp_path / "whole")
    for number, (stop, (data, latitude)) in enumerate(mesh_runs.LEGS):
        run(data * latitude, mesh_runs.leg, store, tmp_path / "parts", number)
        assert load_training_state(tmp_path / "parts").step == stop
    found, expected = (load_training_state(tmp_path / run).tensors for run in ("parts", "whole"))
    for name, value in expected.items():
        if name != "random":
            assert error(found[name], value) <= 1e-5, name
