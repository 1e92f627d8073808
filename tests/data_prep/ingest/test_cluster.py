"""Ingestion by the workers of a dask cluster."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from configs.schema import FilesData
from data_prep.ingest import plan
from data_prep.ingest.run import ingest
from sphere_ops.grid import Grid
from sphere_ops.parallel import cluster

GRID = Grid.equiangular(13, 24)


@pytest.mark.slow
def test_workers_of_a_cluster_make_the_store_that_threads_make(
    gridded: Callable[..., xr.Dataset], save: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(plan, "_SHARD_BYTES", 2 * 4 * 13 * 24)
    splits = {"train": 0.5, "validation": 0.25, "test": 0.25}
    config, path = FilesData(variables=("t2m",), splits=splits), save(gridded(GRID))
    alone = ingest([path], config, tmp_path / "alone")
    workers = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", local_directory=tmp_path / "dask"
    )
    done = []
    with workers:
        together = ingest(
            [path], config, tmp_path / "together", scheduler=workers.scheduler_address,
            progress=lambda n, total: done.append((n, total)),
        )  # fmt: skip
    assert done[-1] == (8, 8)
    first, second = (xr.open_zarr(p, consolidated=False).load() for p in (alone, together))
    assert set(first.variables) == set(second.variables)
    for name in first.variables:
        np.testing.assert_array_equal(first[name], second[name], err_msg=str(name))


def test_a_scheduler_that_does_not_answer_is_one_line(
    gridded: Callable[..., xr.Dataset], save: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_TIMEOUT", 1)
    config = FilesData(variables=("t2m",))
    with pytest.raises(ValueError, match="no dask scheduler answers at 'tcp://127.0.0.1:9'"):
        ingest([save(gridded(GRID))], config, tmp_path / "s", scheduler="tcp://127.0.0.1:9")
