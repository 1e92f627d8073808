"""Refusal of damaged forecast files, in one line that names the file."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import zarr

from forecast.inference.forecast import run_rollout
from forecast.verification.evaluate import evaluate
from tests.forecast.stand_in import Turning

VARIABLE = "vorticity"


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("trajectories") / "store.zarr")


@pytest.fixture(params=[".nc", ".zarr"])
def forecast(request, store, tmp_path) -> Path:
    path = tmp_path / f"forecast{request.param}"
    run_rollout(Turning(store, 0.9), store, path, split="train", n_steps=4)
    return path


def chunk_of(path: Path) -> tuple[Path, int]:
    """Return a file with values of a variable, and their position in it."""
    if path.is_dir():
        return next(p for p in sorted((path / VARIABLE / "c").rglob("*")) if p.is_file()), 0
    with netCDF4.Dataset(path) as file:
        assert file[VARIABLE].filters()["fletcher32"]
        chunk = np.asarray(file[VARIABLE][2, 2]).astype("<f4").tobytes()
    start = path.read_bytes().find(chunk)
    assert start > 0
    return path, start


def overwrite(path: Path, rng: np.random.Generator) -> None:
    """Overwrite 64 bytes of a chunk with random ones."""
    file, start = chunk_of(path)
    content = bytearray(file.read_bytes())
    content[start + 40 : start + 104] = rng.bytes(64)
    file.write_bytes(content)


def leave_out(path: Path) -> None:
    """Set one field to missing, the second step of the third forecast."""
    if path.is_dir():
        array = zarr.open_group(path, mode="r+")[VARIABLE]
        assert isinstance(array, zarr.Array)
        array[2, 2] = np.nan
    else:
        with netCDF4.Dataset(path, "r+") as file:
            file[VARIABLE][2, 2] = np.nan


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_in_a_chunk_end_in_one_line(forecast, store, tmp_path, seed, refused):
    overwrite(forecast, np.random.default_rng(seed))
    for arguments in (
        ("evaluate", forecast, "--data", store, "--out", tmp_path / "s.nc"),
        ("plot", "spectrum", forecast, "--data", store, "--out", tmp_path / "s.png"),
    ):
        line = refused(*arguments)
        assert line.startswith(f"error: forecast {forecast} is damaged: {VARIABLE} of"), line
    assert not list(tmp_path.glob("s.*"))


def test_a_missing_field_is_no_score_but_an_error(forecast, store, tmp_path):
    leave_out(forecast)
    with pytest.raises(ValueError, match=rf"{forecast} .*{VARIABLE} .*trajectory 2 .*at 2 h"):
        evaluate(forecast, store, tmp_path / "s.nc")
    assert not list(tmp_path.glob("s.*"))


def test_an_initial_state_that_lacks_points_of_the_others_is_an_error(forecast, store, tmp_path):
    if forecast.is_dir():
        array = zarr.open_group(forecast, mode="r+")[VARIABLE]
        assert isinstance(array, zarr.Array)
        array[1, 0] = np.nan
    else:
        with netCDF4.Dataset(forecast, "r+") as file:
            file[VARIABLE][1, 0] = np.nan
    with pytest.raises(ValueError, match=rf"{forecast} .*{VARIABLE} .*trajectory 1 .*at 0 h"):
        evaluate(forecast, store, tmp_path / "s.nc")
