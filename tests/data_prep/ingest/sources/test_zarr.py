"""Zarr groups: formats, groups, lazy opening."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from data_prep.ingest.sources import Sources
from data_prep.ingest.sources.zarr_groups import open_zarr
from tests.data_prep.ingest.sources.samples import field

pytestmark = pytest.mark.filterwarnings("ignore:.*Zarr.*3:UserWarning", "ignore::FutureWarning")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> Any:
    """Record all warnings, also those that pytest would ignore."""
    return recwarn


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
def test_every_format_opens_without_warnings(
    zarr_format: Any, consolidated: bool, fields: xr.Dataset, tmp_path: Path, quiet: Any
) -> None:
    fields["expver"] = ("time", np.array(["0001", "0001", "0005"]))
    fields.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=consolidated)
    (tmp_path / "a.zarr/.DS_Store").write_text("")
    quiet.clear()
    with Sources([tmp_path / "a.zarr"]) as sources:
        (dataset,) = sources[tmp_path / "a.zarr"]
        np.testing.assert_allclose(dataset.t2m[1], field(1), atol=1e-6)
        assert dataset.t2m.encoding["preferred_chunks"]["time"] == 3
        assert dataset.expver.values.tolist() == ["0001", "0001", "0005"]
    assert not list(quiet)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
def test_groups_with_fields_are_data_sets(
    zarr_format: Any, consolidated: bool, fields: xr.Dataset, tmp_path: Path, quiet: Any
) -> None:
    path = tmp_path / "a.zarr"
    fields.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    fields.rename(t2m="u10").to_zarr(
        path, group="model/surface", zarr_format=zarr_format, mode="a", consolidated=False
    )
    if consolidated:
        zarr.consolidate_metadata(path)
    quiet.clear()
    with Sources([path]) as sources:
        root, surface = sources[path]
        assert set(root.data_vars) == {"t2m"}
        np.testing.assert_allclose(surface.u10[2], field(2), atol=1e-6)
    assert not list(quiet)


class CountingStore(LocalStore):
    """Store that records the chunks that are read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.chunks: list[str] = []

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        if not key.endswith(("json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")):
            self.chunks.append(key)
        return await super().get(key, *args, **options)


def test_opening_a_long_archive_reads_only_its_coordinates(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "era5.zarr", zarr_format=2)
    shapes = {"time": (500_000,), "latitude": (721,), "longitude": (1440,)}
    for name, shape in shapes.items():
        axis = group.create_array(name, shape=shape, chunks=shape, dtype="i4")
        axis[:] = np.arange(shape[0])
        axis.attrs["_ARRAY_DIMENSIONS"] = [name]
    data = group.create_array(
        "t2m", shape=(500_000, 721, 1440), chunks=(1, 721, 1440), dtype="f4", fill_value=-1.0
    )
    data[400_000] = 2.0
    data.attrs["_ARRAY_DIMENSIONS"] = list(shapes)
    store = CountingStore(tmp_path / "era5.zarr", read_only=True)
    (dataset,) = open_zarr(store)
    assert {key.split("/")[0] for key in store.chunks} == set(shapes)
    assert not dataset.chunks
    assert float(dataset.t2m[400_000, 0, 0]) == 2.0
    assert [key for key in store.chunks if key.startswith("t2m")] == ["t2m/400000.0.0"]


def test_a_damaged_group_is_refused(fields: xr.Dataset, tmp_path: Path) -> None:
    fields.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    (tmp_path / "a.zarr/t2m/.zarray").write_text('{"shape"')
    with Sources([tmp_path / "a.zarr"]) as sources, pytest.raises(ValueError) as caught:
        sources[tmp_path / "a.zarr"]
    assert "a.zarr cannot be read" in str(caught.value) and "\n" not in str(caught.value)
