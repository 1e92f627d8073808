"""Comparison of stores with the files that they were made from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
import zarr

from configs.schema import FilesData, SplitFractions
from configs.variables import BUILT_IN
from data_prep.ingest.run import ingest
from data_prep.ingest.verify import compare_with_sources
from sphere_ops.grid import Grid

GRID = Grid.equiangular(7, 12)
Gridded = Callable[..., xr.Dataset]
Save = Callable[..., Path]


def test_a_variable_of_the_user_is_compared_too(
    gridded: Gridded, save: Save, tmp_path: Path
) -> None:
    table = BUILT_IN.extended({"soot": {"units": "kg m-3", "aliases": ["bc_conc"]}})
    path = save(gridded(GRID, units="kg m-3", bc_conc=1.0))
    store = ingest([path], FilesData(variables=("soot",)), tmp_path / "store", table=table)
    assert compare_with_sources(store, [path]) == []


def test_a_value_that_differs_is_found(gridded: Gridded, save: Save, tmp_path: Path) -> None:
    path = save(gridded(GRID))
    store = ingest([path], FilesData(variables=("t2m",)), tmp_path / "store")
    zarr.open_group(store, mode="r+")["fields"][3, 0, 2, 5] = 0.0  # type: ignore[index]
    (problem,) = compare_with_sources(store, [path])
    assert problem.startswith("t2m at 2001-01-01T18:00:00 differs from the sources at 1 of 84")


def test_a_part_of_the_files_is_compared(gridded: Gridded, save: Save, tmp_path: Path) -> None:
    parts = [slice(0, 4), slice(4, 8)]
    first, second = (save(gridded(GRID).isel(time=p), f"{p.start}.nc") for p in parts)
    splits = SplitFractions(train=0.5, validation=0.25, test=0.25)
    config = FilesData(variables=("t2m",), splits=splits)
    store = ingest([first, second], config, tmp_path / "store")
    for path in (first, second):
        assert compare_with_sources(store, [path]) == []


def test_sources_of_other_times_are_refused(gridded: Gridded, save: Save, tmp_path: Path) -> None:
    path = save(gridded(GRID).isel(time=slice(0, 4)))
    other = save(gridded(GRID).isel(time=slice(4, 8)), "other.nc")
    store = ingest([path], FilesData(variables=("t2m",)), tmp_path / "store")
    assert compare_with_sources(store, [path, other]) == []
    with pytest.raises(ValueError, match="the sources have none of the times of"):
        compare_with_sources(store, [other])
