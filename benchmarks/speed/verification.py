"""Speed and memory of the evaluation of a forecast, and of the same scores by plain xarray.

    python -m benchmarks.speed.verification [--quick] [--json FILE] [--only NAME] [--folder FOLDER]

With --folder, the forecasts stay there and are used again.

A synthetic forecast of 1,000 starts, 41 lead times and 8 channels at 64 × 128 points, as zarr and
as netCDF, is compared with a store: all scores of the model and of persistence, over the globe and,
in a row of its own, over all regions of WeatherBench 2. The peer computes the scores of the model
alone with xarray, and rmse and mae with the package `scores`, from the first starts of the same
file; its time is scaled to all starts. Ours and the peer alternate, each in a new process.
Ensembles of 1, 8 and 50 members, of fewer starts and lead times, show the memory by members.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.speed.measure import Row, report, selected, versions
from benchmarks.speed.noise import CHANNELS, GRID, make_forecast, make_store

_MEMBERS = (1, 8, 50)
_ENSEMBLES = {f"{n} member{'s' * (n > 1)}": n for n in _MEMBERS}
_CASES = ("zarr", "netCDF", "all regions", *_ENSEMBLES)
_MEMBER_STARTS, _MEMBER_LEADS = 6, 21
_STARTS, _QUICK = 1000, 60
_LEADS = 41
_PEER_STARTS = 20
_LIMIT_MEMORY = 1024.0
_FILES = {"zarr": "f.zarr", "netCDF": "f.nc", "all regions": "f.zarr"}
_PACKAGES = ("numpy", "xarray", "zarr", "netCDF4", "scores")


def main() -> None:
    """Make the data, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer starts and runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument(
        "--only", default="", help="cases whose name contains this; other rows of the file are kept"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="folder in which files are kept; default: a temporary one"
    )
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measured(*arguments.measure)))
        return
    cases = selected(parser, arguments.only, _CASES)
    n_starts, runs = (_QUICK, 1) if arguments.quick else (_STARTS, arguments.runs)
    rows: list[Row] = []
    with TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / str(n_starts)
        folder.mkdir(parents=True, exist_ok=True)
        store = folder / "store.zarr"
        if not store.exists():
            make_store(store, n_starts + _LEADS)
        for case in cases:
            file = folder / _FILES.get(case, f"{case}.zarr".replace(" ", "-"))
            members = _ENSEMBLES.get(case)
            if not file.exists():
                shape = (n_starts, _LEADS) if members is None else (_MEMBER_STARTS, _MEMBER_LEADS)
                make_forecast(file, store, *shape, members)
            rows += (
                _member_rows(case, file, store)
                if members
                else _rows(case, file, store, n_starts, runs)
            )
    title, about = "evaluation of a forecast", versions(*_PACKAGES)
    report(rows, title, arguments.json, about=about, keep=bool(arguments.only))


def _member_rows(case: str, file: Path, store: Path) -> list[Row]:
    """Measure the memory of one ensemble."""
    memory = _run("ours", file, store, 0)["memory"]
    shape = f"{_MEMBER_STARTS} × {_MEMBER_LEADS} × {len(CHANNELS)} × {GRID[0]}×{GRID[1]}"
    ratio = _LIMIT_MEMORY / memory
    return [Row(f"{case}, peak memory", shape, memory, _LIMIT_MEMORY, "the limit", ratio, "MiB")]


def _run(kind: str, file: Path, store: Path, run: int) -> dict[str, Any]:
    """Compute scores in a new process; return what `_measured` does."""
    scores = file.with_name(f"{file.name}-{kind}{run}.nc")
    scores.unlink(missing_ok=True)
    scores.with_suffix(".md").unlink(missing_ok=True)
    words = [kind, str(file), str(store), str(scores)]
    command = [sys.executable, "-m", "benchmarks.speed.verification", "--measure", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _rows(case: str, file: Path, store: Path, n_starts: int, runs: int) -> list[Row]:
    """Measure one case, ours and the peer in turn."""
    kinds = ("regions",) if case == "all regions" else ("ours", "peer")
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for run in range(runs):
        for kind in kinds:
            found[kind].append(_run(kind, file, store, run))
    shape = f"{n_starts} × {_LEADS} × {len(CHANNELS)} × {GRID[0]}×{GRID[1]}"
    ours = found[kinds[0]]
    rows = []
    for what, name in (("seconds", "elapsed"), ("processor", "processor time")):
        values = sorted(run[what] for run in ours)
        row = Row(
            f"{case}, {name}",
            shape,
            values[0],
            None,
            "",
            None,
            "s",
            ours_median=values[len(values) // 2],
        )
        if "peer" in found:
            scale = n_starts / min(n_starts, _PEER_STARTS)
            peer = sorted(scale * run[what] for run in found["peer"])
            row = replace(
                row,
                peer=peer[0],
                peer_name="xarray and scores, the model alone",
                ratio=peer[0] / values[0],
                peer_median=peer[len(peer) // 2],
                difference=_difference(file),
            )
        rows.append(row)
    most = max(run["memory"] for run in ours)
    rows.append(
        Row(
            f"{case}, peak memory",
            shape,
            most,
            _LIMIT_MEMORY,
            "the limit",
            _LIMIT_MEMORY / most,
            "MiB",
        )
    )
    return rows


def _difference(file: Path) -> float:
    """Return the largest relative difference of the rmse of the first starts."""
    with (
        xr.open_dataset(file.with_name(f"{file.name}-ours0.nc")) as ours,
        xr.open_dataset(file.with_name(f"{file.name}-peer0.nc")) as peer,
    ):
        n = int(peer.attrs["n_starts"])
        found = ours.rmse_each.isel(region=0).sel(forecast="model", channel=list(CHANNELS))
        rmse = np.sqrt(found.isel(init_time=slice(n)).mean("init_time"))
        expected = peer.rmse.transpose("channel", "lead_time")
        later = {"lead_time": slice(1, None)}
        ratio = rmse.isel(later).values / expected.isel(later).values
        return float(np.abs(ratio - 1).max())


def _measured(kind: str, file: str, store: str, out: str) -> dict[str, float]:
    """Compute scores in this process; return its times, s, and its peak memory, MiB."""
    if kind == "peer":
        import scores.continuous  # noqa: F401 (its import is not timed)
    else:
        from forecast.verification.evaluate import evaluate
        from sphere_ops.memory import keep_freed_memory

        keep_freed_memory()
    begin, busy = time.perf_counter(), time.process_time()
    if kind == "peer":
        _by_xarray(Path(file), Path(store)).to_netcdf(out)
    else:
        evaluate(file, store, out, regions=["all"] if kind == "regions" else ())
    return {
        "seconds": time.perf_counter() - begin,
        "processor": time.process_time() - busy,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _by_xarray(file: Path, store: Path) -> xr.Dataset:
    """Return the scores of the first starts with plain xarray and the package `scores`."""
    from scores import continuous

    from sphere_ops.grid import Grid

    weights = xr.DataArray(Grid.legendre_gauss(*GRID).area_weights.numpy()[:, 0], dims="latitude")
    space = ["latitude", "longitude"]
    opened = (
        xr.open_dataset(file, chunks=None)
        if file.suffix == ".nc"
        else xr.open_zarr(file, consolidated=False, chunks=None)
    )
    with opened, xr.open_zarr(store, consolidated=False, chunks=None) as data:
        starts = slice(0, _PEER_STARTS)
        of_starts = opened.isel(init_time=starts)
        valid = of_starts.valid_time.load()
        times = np.unique(valid)
        truths = data.fields.sel(time=times).load()
        forecasts = of_starts[list(CHANNELS)].to_dataarray("channel").load()
        climatology = data.time_mean.load()
        places = xr.DataArray(np.searchsorted(times, valid), dims=valid.dims)
        truth = truths.isel(time=places).drop_vars("time")
        names = ("lead_time", "valid_time", "init_time")
        forecast = forecasts.drop_vars(names, errors="ignore").transpose(*truth.dims)
        f, t = forecast - climatology, truth - climatology
        kept = ["channel", "lead_time"]
        both = (f * t).weighted(weights).mean(space)
        norm = (f**2).weighted(weights).mean(space) * (t**2).weighted(weights).mean(space)
        on_grid = weights.broadcast_like(truth.isel(init_time=0, lead_time=0, channel=0, drop=True))
        error = ((forecast - truth) ** 2).weighted(weights).mean(space)
        size = (t**2).weighted(weights).mean(space)
        return xr.Dataset(
            {
                "rmse": continuous.rmse(forecast, truth, preserve_dims=kept, weights=on_grid),
                "mae": continuous.mae(forecast, truth, preserve_dims=kept, weights=on_grid),
                "bias": (forecast - truth).weighted(weights).mean([*space, "init_time"]),
                "acc": (both / np.sqrt(norm)).mean("init_time"),
                "activity": np.sqrt(f.var(space).mean("init_time")),
                "relative_l2": np.sqrt(error / size).mean("init_time"),
            }
        ).assign_attrs(n_starts=truth.sizes["init_time"])


if __name__ == "__main__":
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    main()
