"""Ensembles in a mesh, against those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from tests.forecast.inference.ensemble.mesh_members import ensembles
from tests.ranks import run

pytestmark = pytest.mark.parallel


@pytest.fixture(scope="module")
def folder(make_store, tmp_path_factory) -> Path:
    """Folder with two stores, and the forecasts of one process."""
    path = tmp_path_factory.mktemp("parallel")
    make_store(path / "store.zarr", n_times=10)
    make_store(path / "series.zarr", "files", mask=True)
    (path / "alone").mkdir()
    ensembles(path, path / "alone", 1)
    return path


@pytest.mark.parametrize("latitude", [1, 2], ids=["data", "latitude"])
def test_members_of_a_mesh_are_those_of_one_process(folder, latitude):
    out = folder / f"latitude{latitude}"
    out.mkdir()
    run(2, ensembles, folder, out, latitude)
    for name in ("all kinds.nc", "all kinds.zarr", "masked.nc"):
        options = {"consolidated": True} if name.endswith("zarr") else {}
        with (
            xr.open_dataset(out / name, chunks=None, **options) as found,
            xr.open_dataset(folder / "alone" / name, chunks=None, **options) as expected,
        ):
            assert found.sizes == expected.sizes and found.sizes["member"] > 1
            for variable, field in expected.data_vars.items():
                difference = abs(found[variable] - field).max()
                assert difference <= 1e-4 * field.std(), (name, variable)
