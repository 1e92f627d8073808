"""Damaged files: every command that reads one names it in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.workflow import Workflow

Refused = Callable[..., str]


@pytest.fixture
def store(workflow: Workflow, tmp_path: Path) -> Path:
    """Copy of the store."""
    return Path(shutil.copytree(workflow.store, tmp_path / "copy.zarr"))


def spoil(file: Path) -> None:
    """Overwrite 64 bytes in the middle of a file, or a whole smaller file, with random ones."""
    content = bytearray(file.read_bytes())
    noise = np.random.default_rng(0).bytes(min(64, len(content)))
    middle = (len(content) - len(noise)) // 2
    content[middle : middle + len(noise)] = noise
    file.write_bytes(content)


def reading(workflow: Workflow, store: Path, folder: Path) -> dict[str, tuple[object, ...]]:
    """Return the commands that read the fields of a store."""
    out, data = folder / "out.nc", ("--data", store)
    off = "tracking.enabled=false"
    return {
        "train": ("train", "swe_smoke", *data, "--out", folder / "run", off),
        "rollout": ("rollout", workflow.run, *data, "--out", out),
        "evaluate": ("evaluate", workflow.forecast, *data, "--out", out),
        "export": ("data", "export", store, "--out", out),
        "plot map": ("plot", "map", workflow.forecast, "--variable", "vorticity", "--lead", "3h",
                     "--truth", store, "--out", folder / "p.png"),
        "plot spectrum": ("plot", "spectrum", workflow.forecast, *data, "--out", folder / "p.png"),
    }  # fmt: skip


def of_the_test_split(store: Path) -> Path:
    """Return the file of the trajectory from which forecasts start, and which training reads."""
    split = zarr.open_array(store / "split", mode="r")[:]
    return store / f"fields/c.{list(split).index('test')}.0.0.0.0"


def test_a_damaged_chunk_is_named_by_every_command_that_reads_it(
    workflow: Workflow, store: Path, refused: Refused, tmp_path: Path
) -> None:
    file = of_the_test_split(store)
    spoil(file)
    for name, words in reading(workflow, store, tmp_path).items():
        assert f"{file} is damaged; copy the store again" in refused(*words), name
    assert {p.name for p in tmp_path.iterdir()} <= {"copy.zarr", "run"}


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_missing_chunk_is_named_before_anything_is_computed(
    workflow: Workflow, store: Path, refused: Refused, tmp_path: Path, how: str
) -> None:
    file = of_the_test_split(store)
    file.unlink() if how == "missing" else file.write_bytes(b"")
    commands = reading(workflow, store, tmp_path) | {"info": ("data", "info", store)}
    for name, words in commands.items():
        assert f"{file} is missing or empty; copy the store again" in refused(*words), name
    assert [p.name for p in tmp_path.iterdir()] == ["copy.zarr"]


@pytest.mark.parametrize("name", ["mean/c/0", "channel/c/0", "fields/zarr.json", "zarr.json"])
def test_damage_beside_the_fields_is_named(
    workflow: Workflow, store: Path, refused: Refused, tmp_path: Path, name: str
) -> None:
    spoil(store / name)
    for words in (
        ("data", "info", store),
        ("train", "swe_smoke", "--data", store, "--out", tmp_path / "run"),
    ):
        assert f"{store / name} is damaged" in refused(*words), words


def test_a_reader_of_batches_names_the_damaged_file(
    workflow: Workflow,
    store: Path,
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("data_prep.store.selection.field_reader._IN_MEMORY_BYTES", 0)
    spoil(store / "fields/c.0.0.0.0.0")
    words = ("train", "swe_smoke", "--data", store, "--out", tmp_path / "run")
    settings = ("model.spectral_limit=null", "training.workers=1", "tracking.enabled=false")
    line = refused(*words, *settings)
    assert line.startswith(f"error: {store / 'fields/c.0.0.0.0.0'} is damaged")


def test_damaged_weights_are_not_forecast_with(
    workflow: Workflow, refused: Refused, tmp_path: Path
) -> None:
    package, out = tmp_path / "package", tmp_path / "out.nc"
    shutil.copytree(workflow.run / "best", package)
    spoil(package / "model.safetensors")
    line = refused("rollout", package, "--data", workflow.store, "--out", out)
    assert "model.safetensors is damaged" in line and "copy the whole folder again" in line
    assert not out.exists()
