"""Training, forecasts and scores in a mesh, against those of one process."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
import yaml
import zarr
from safetensors.torch import load_file

from configs import layout
from forecast.training.checkpoint import load_checkpoint
from forecast.training.tracking.mlflow_tracker import flatten
from forecast.training.tracking.recorder import read_metrics
from tests.forecast import mesh_runs
from tests.ranks import run

pytestmark = pytest.mark.parallel
LARGE = ((1, 3), (2, 2), (1, 4))
MESHES = [(1, 2), (2, 1), *(pytest.param(m, marks=pytest.mark.slow) for m in LARGE)]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def folder(make_store, tmp_path_factory) -> Path:
    """Folder with three stores, and the output of one process."""
    path = tmp_path_factory.mktemp("parallel")
    make_store(path / "trajectories.zarr", channels=mesh_runs.CHANNELS)
    make_store(path / "series.zarr", "files", mask=True)
    make_store(path / "moving.zarr", "files", mask=True, moving_mask=True)
    (path / "alone").mkdir()
    mesh_runs.leg(path / "trajectories.zarr", path / "begun", 0)
    shutil.copytree(path / "begun", path / "alone/run")
    mesh_runs.everything(path, path / "alone", (1, 1))
    return path


@pytest.fixture(scope="module", params=MESHES, ids=lambda m: f"{m[0]}x{m[1]}")
def out(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Folder with the output of a mesh."""
    data, latitude = request.param
    path = folder / f"{data}x{latitude}"
    path.mkdir()
    shutil.copytree(folder / "begun", path / "run")
    run(data * latitude, mesh_runs.everything, folder, path, request.param)
    return path


def compared(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return a weight without the part that only rounding changes, which Adam scales to full steps.

    The first channel is conserved: a constant that the decoder adds to it is removed again.
    """
    return value[..., 1:] if name.endswith("decoder.bias") else value


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the error relative to the largest value, or to 1e-2 where weights start at zero."""
    if not expected.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-2))


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the relative distance of two models, with all weights as one vector."""
    a, b = (
        torch.cat([compared(name, x[name]).double().flatten() for name in sorted(expected)])
        for x in (found, expected)
    )
    return float((a - b).norm() / b.norm())


WITHOUT_EFFECT = {
    ("moving mask", torch.float32): ("decoder.bias",),
    ("in degrees, recomputed, two states", torch.float32): ("decoder.bias",),
    ("damped persistence", torch.float32): ("decoder.bias", "mlp.mix.bias"),
    ("damped persistence", torch.float64): ("decoder.bias", "mlp.mix.bias"),
}
"""Weights of cases whose gradient is zero or rounding, of which Adam makes full steps: the bias of
sst, which the persistent mean removes, that of conserved means, and constants, which damped
persistence removes from fields whose area mean does not vary."""


def test_ten_steps_are_those_of_one_process(out, folder):
    alone, found = torch.load(folder / "alone/steps"), torch.load(out / "steps")
    assert found.keys() == alone.keys()
    for (case, dtype), expected in alone.items():
        assert found[case, dtype].keys() == expected.keys()
        for name in expected:
            if name.endswith(WITHOUT_EFFECT.get((case, dtype), ())):
                continue
            # The loss is added up in float32.
            tolerance = 1e-6 if name.startswith(("loss", "valid")) else 0.0
            values = (of[case, dtype][name] for of in (found, alone))
            assert error(*values) <= max(tolerance, TOLERANCE[dtype]), (case, dtype, name)


def test_a_package_is_the_same_on_every_mesh(out, folder):
    for name in ("package", "best"):
        file = f"run/{name}/model.safetensors"
        found, expected = load_file(out / file), load_file(folder / "alone" / file)
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
        assert distance(found, expected) <= 1e-5


OF_ONE_RUN = re.compile(
    r"\.(time|batch|train/samples_per_second|git_commit)$|\.system/|^mesh\.|"
    rf"^{layout.DIGESTS}$"
)
"""Times, speeds, loads; windows in the order of the ranks; the state of the source meanwhile;
digests of weights, which rounding changes."""


def values(file: Path) -> dict[str, Any]:
    """Return the values in a text file of a run that do not depend on the mesh, by position."""
    text = file.read_text()
    lines = enumerate(text.splitlines())
    tree = {
        ".json": lambda: json.loads(text),
        ".jsonl": lambda: {n: json.loads(line) for n, line in lines},
        ".yaml": lambda: yaml.safe_load(text),
        ".log": lambda: {n: line.split(maxsplit=2)[2] for n, line in lines},  # without its time
    }[file.suffix]()
    return {key: value for key, value in flatten(tree).items() if not OF_ONE_RUN.search(key)}


def test_a_run_leaves_the_same_files_and_metrics(out, folder):
    found, expected = (path / "run" for path in (out, folder / "alone"))
    files = sorted(p.relative_to(expected) for p in expected.rglob("*") if p.is_file())
    assert sorted(p.relative_to(found) for p in found.rglob("*") if p.is_file()) == files
    texts = [file for file in files if file.suffix in (".json", ".jsonl", ".log", ".yaml")]
    assert len(texts) == 8
    for file in texts:
        ours, theirs = values(found / file), values(expected / file)
        assert ours.keys() == theirs.keys() and len(theirs) >= 2, file
        for key, value in theirs.items():
            number = isinstance(value, float)
            assert ours[key] == (pytest.approx(value, rel=1e-5) if number else value), (file, key)
    losses = [record["train/loss"] for record in read_metrics(expected / layout.METRICS_FILE)]
    assert len(losses) == 20 and len(set(losses)) == 20


def test_a_run_goes_on_from_the_state_of_one_process(out, folder):
    found, expected = (load_checkpoint(p / "run").tensors for p in (out, folder / "alone"))
    assert found.keys() == expected.keys()
    parts = {name.partition(".")[0] for name in expected}
    assert parts == {"model", "average", "optimizer", "random"}
    for name, tensor in expected.items():
        ours, theirs = compared(name, found[name]), compared(name, tensor)
        # Adam makes steps of rounding where the loss hardly feels a weight: 3e-5 at most was seen.
        tolerance = 1e-5 if name.startswith("optimizer") else 3e-4
        assert (ours - theirs).float().norm() <= tolerance * theirs.float().norm(), name
    assert torch.equal(found["random"], expected["random"])


def test_a_skipped_step_is_reported_with_the_windows_of_all_processes(out, folder):
    found, expected = (
        json.loads((path / "run/non_finite.jsonl").read_text()) for path in (out, folder / "alone")
    )
    assert sorted(found.pop("batch")) == sorted(expected.pop("batch"))
    assert found == expected and expected["loss"] == "nan"


def opened(file: Path) -> xr.Dataset:
    return xr.open_dataset(file, chunks=None, **({"consolidated": True} if file.is_dir() else {}))


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize("kind", ["forecast", "forced"])
def test_a_rollout_is_that_of_one_process(out, folder, suffix, kind):
    name = f"{kind}.{suffix}"
    with opened(out / name) as found, opened(folder / "alone" / name) as expected:
        assert found.sizes == expected.sizes
        for name, field in expected.data_vars.items():
            assert abs(found[name] - field).max() <= 1e-5 * abs(field).max(), name


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize("name", ["failing", "single", "moving"])
def test_forecasts_that_end_early_and_few_ones_and_moving_masks_make_the_file_of_one_process(
    out, folder, name, suffix
):
    file = f"{name}.{suffix}"
    with opened(out / file) as found, opened(folder / "alone" / file) as expected:
        assert ("last_step" in expected) == (name == "failing")
        xr.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_process_writes_its_own_rows_of_zarr_where_they_are_equally_many(out):
    chunks = zarr.open_array(out / "forecast.zarr" / mesh_runs.CHANNELS[0]).chunks
    latitude = int(out.name.partition("x")[2])
    assert chunks[2] == (8 // latitude if 8 % latitude == 0 else 8)


@pytest.mark.parametrize("name", ["scores", "moving_scores"])
def test_scores_are_those_of_one_process(out, folder, name):
    with (
        xr.open_dataset(out / f"{name}.nc") as found,
        xr.open_dataset(folder / f"alone/{name}.nc") as expected,
    ):
        xr.testing.assert_allclose(found, expected, rtol=1e-10)
    for path in (out, folder / "alone"):
        assert (path / f"{name}.md").is_file()


def test_a_dealt_optimiser_does_the_steps_of_a_whole_one_with_half_its_state(folder, tmp_path):
    run(2, mesh_runs.both_optimizers, folder, tmp_path, (1, 2))
    whole_first, dealt_first = (load_checkpoint(tmp_path / f) for f in ("False", "True"))
    assert whole_first.step == 10
    assert whole_first.values == dealt_first.values
    assert whole_first.tensors.keys() == dealt_first.tensors.keys()
    for name, value in whole_first.tensors.items():
        assert torch.equal(value, dealt_first.tensors[name]), name
    for rank in (0, 1):
        numbers = torch.load(tmp_path / f"numbers.{rank}")
        for whole, dealt in (numbers["False"], reversed(numbers["True"])):
            assert 0.4 * whole <= dealt <= 0.6 * whole


@pytest.mark.slow
def test_a_run_goes_on_on_4_ranks_on_2_on_1_and_on_3(folder, tmp_path):
    parts = shutil.copytree(folder / "begun", tmp_path / "parts")
    for number, (stop, (data, latitude)) in list(enumerate(mesh_runs.LEGS))[1:]:
        run(data * latitude, mesh_runs.leg, folder / "trajectories.zarr", parts, number)
        assert load_checkpoint(parts).step == stop
    found, expected = (load_checkpoint(r).tensors for r in (parts, folder / "alone/run"))
    for part in ("model", "average"):
        names = [name for name in expected if name.startswith(part)]
        assert distance({n: found[n] for n in names}, {n: expected[n] for n in names}) <= 1e-5
