"""Speed and memory of the climate of a long forecast, and of three of its statistics by xarray.

    python -m benchmarks.speed.climate [--quick] [--json FILE] [--folder FOLDER]

With --folder, the forecast and the store stay there and are used again.

One forecast of 2,000 six-hourly states of 8 channels at 64 × 128 points, as zarr, is compared with
as many states of a store, with all diagnostics. The peer computes time mean, variance and zonal
mean of both with plain xarray, which holds them in memory. Ours and the peer alternate, each in a
new process. Times are those of 1,000 states, of forecast and truth together.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.speed.measure import Row, report, versions
from benchmarks.speed.noise import CHANNELS, GRID, make_forecast, make_store

_STATES, _QUICK = 2000, 100
_SOURCES = 2
_PACKAGES = ("numpy", "scipy", "xarray", "zarr")
_PEER = "time mean, variance, zonal mean by xarray"


def main() -> None:
    """Make the data, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer states and runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="folder in which files are kept; default: a temporary one"
    )
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, *paths = arguments.measure
        print(json.dumps(_measured(kind, *map(Path, paths))))
        return
    n_states, runs = (_QUICK, 1) if arguments.quick else (_STATES, arguments.runs)
    with TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)) / str(n_states)
        folder.mkdir(parents=True, exist_ok=True)
        rows = _rows(folder, n_states, runs)
    report(rows, "climate of a forecast", arguments.json, about=versions(*_PACKAGES))


def _rows(folder: Path, n_states: int, runs: int) -> list[Row]:
    """Measure ours and the peer in turn."""
    store, file = folder / "store.zarr", folder / "f.zarr"
    if not store.exists():
        make_store(store, n_states + 1)
    if not file.exists():
        make_forecast(file, store, 1, n_states + 1)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    for run in range(runs):
        for kind, of_kind in found.items():
            out = folder / f"{kind}{run}.nc"
            out.unlink(missing_ok=True)
            out.with_suffix(".md").unlink(missing_ok=True)
            paths = [str(file), str(store), str(out)]
            command = [sys.executable, "-m", "benchmarks.speed.climate", "--measure", kind, *paths]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            of_kind.append(json.loads(done.stdout.splitlines()[-1]))
    shape = f"{_SOURCES} × {n_states} × {len(CHANNELS)} × {GRID[0]}×{GRID[1]}"
    difference = _difference(folder / "ours0.nc", folder / "peer0.nc")
    rows = []
    for what, name in (("seconds", "elapsed"), ("processor", "processor time")):
        ours, peer = (
            sorted(run[what] * 1000 / (_SOURCES * n_states) for run in found[kind])
            for kind in ("ours", "peer")
        )
        rows.append(
            Row(
                f"climate, {name} of 1,000 states",
                shape,
                ours[0],
                peer[0],
                _PEER,
                peer[0] / ours[0],
                "s",
                difference,
                ours[len(ours) // 2],
                peer[len(peer) // 2],
            )
        )
    most, limit = (max(run["memory"] for run in found[kind]) for kind in ("ours", "peer"))
    rows.append(Row("climate, peak memory", shape, most, limit, _PEER, limit / most, "MiB"))
    return rows


def _difference(ours: Path, peer: Path) -> float:
    """Return the largest difference of a statistic over its largest value."""
    with xr.open_dataset(ours) as found, xr.open_dataset(peer) as expected:
        names = [str(name) for name in expected.data_vars]
        differences = [
            abs(found[name] - expected[name]) / abs(expected[name]).max() for name in names
        ]
        return max(float(difference.max()) for difference in differences)


def _measured(kind: str, file: Path, store: Path, out: Path) -> dict[str, float]:
    """Diagnose in this process; return its times, s, and its peak memory, MiB."""
    if kind == "ours":
        from forecast.verification.climate.climate import climate
        from sphere_ops.memory import keep_freed_memory

        keep_freed_memory()
    begin, busy = time.perf_counter(), time.process_time()
    if kind == "ours":
        climate(file, store, out)
    else:
        _by_xarray(file, store).to_netcdf(out)
    return {
        "seconds": time.perf_counter() - begin,
        "processor": time.process_time() - busy,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _by_xarray(file: Path, store: Path) -> xr.Dataset:
    """Return the statistics of the peer, over the same states."""
    opened: dict[str, Any] = {"consolidated": False, "chunks": None}
    with xr.open_zarr(file, **opened) as forecast, xr.open_zarr(store, **opened) as truth:
        later = forecast.isel(init_time=0, lead_time=slice(1, None))[list(CHANNELS)]
        states = later.to_dataarray("channel").drop_vars("valid_time", errors="ignore")
        both = {
            "forecast": states.rename(lead_time="time").drop_vars("time"),
            "truth": truth.fields.drop_vars("time"),
        }
        statistics = [_statistics(fields.load()) for fields in both.values()]
    return xr.concat(statistics, xr.Variable("source", list(both)), coords="minimal")


def _statistics(fields: xr.DataArray) -> xr.Dataset:
    wide = fields.astype(np.float64)
    mean = wide.mean("time")
    found = {"time_mean": mean, "variance": wide.var("time"), "zonal_mean": mean.mean("longitude")}
    return xr.Dataset(found).reset_coords(drop=True)


if __name__ == "__main__":
    main()
