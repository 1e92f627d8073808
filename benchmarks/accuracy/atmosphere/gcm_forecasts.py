"""Forecasts by the circulation model itself: a coarser truncation, and a perturbed twin.

    python -m benchmarks.accuracy.atmosphere.gcm_forecasts --data STORE --python PYTHON --out DIR
        --months 2003-07 2003-08 ... [--json FILE]

They start from the restarts in STORE.run, one step before each month, and are scored like the
forecasts of `benchmarks.accuracy.atmosphere`. The twin has the truncation of the run, and random
temperatures of 1e-3 K at the start: the limit of predictability. The coarser model has T21, and is
interpolated to the grid of the store by its spherical harmonics. Seconds are those of its process
for a forecast of 15 days, without compilation.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from benchmarks.accuracy.atmosphere.scores import LEADS, Scores
from benchmarks.accuracy.records import digest, write
from benchmarks.speed.measure import machine
from data_prep.gcm.process import find_python, worker_environment
from data_prep.store.reader import Store
from forecast.training.tracking.git import git_commit
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample

_DAYS = LEADS[-1] // 24
_NAMES = {"tp": "total_precipitation"}
KINDS = {"twin": (None, 1e-3), "T21": (21, 0.0)}
"""Truncation, None for that of the run, and perturbation, K."""


def forecast(
    data: Path, out: Path, python: str, kind: str, months: list[str], truncation: int
) -> list[float]:
    """Run the forecasts that are not there yet, and return the seconds of each."""
    own, perturbation = KINDS[kind]
    run = data.with_name(f"{data.name}.run").absolute()
    command = [python, "-m", "data_prep.gcm.worker.forecasts", str(run), str(out.absolute())]
    command += [str(own or truncation), str(_DAYS), str(perturbation), *months]
    environment = worker_environment(run)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return [float(x) for x in re.findall(r"([\d.]+) s$", done.stdout, re.MULTILINE)]


def scores(data: Path, out: Path, months: list[str]) -> dict[str, Any]:
    """Return the scores of forecasts, over those channels of the store that they have."""
    store = Store(data)
    sums = Scores(store)
    hours = store.time_step.hours
    assert hours is not None
    for month in months:
        fields = _fields(out / f"{month}.nc", store)
        first = int(store.find(np.array([np.datetime64(month, "ns")]))[0])
        for k, lead in enumerate(LEADS):
            n = round(lead / hours) - 1
            sums.add(k, fields[n : n + 1], np.array([first + n]))
    return sums.scores()


def _fields(path: Path, store: Store) -> Tensor:
    """Return the predicted channels of a file on the grid of the store, (time, c, nlat, nlon)."""
    with xr.open_dataset(path) as file:
        parts = []
        for v in store.channels:
            if v.role == "forcing":
                continue
            array = _variable(file, _NAMES.get(v.name, v.name))
            parts.append(array.sortby("latitude", ascending=False).values)
        nlat, nlon = parts[0].shape[-2:]
    fields = torch.from_numpy(np.stack(parts, 1)).float()
    grid = Grid.legendre_gauss(nlat, nlon)
    return fields if grid == store.grid else resample(fields, grid, store.grid)


def _variable(file: xr.Dataset, name: str) -> xr.DataArray:
    if name in file:
        return file[name]
    base = name.rstrip("0123456789")
    return file[base].sel(level=int(name.removeprefix(base)))


def main() -> None:
    """Run and score the forecasts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="store of `forecast data gcm`")
    parser.add_argument("--python", default=None, help="interpreter that has jcm")
    parser.add_argument("--out", type=Path, required=True, help="folder, made if absent")
    parser.add_argument("--months", nargs="+", required=True)
    parser.add_argument("--truncation", type=int, default=31, help="truncation of the run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    python = find_python(args.python)
    found: dict[str, Any] = {
        "commit": git_commit(), "machine": machine(), "data": digest(Store(args.data)),
        "months": args.months, "leads_hours": list(LEADS),
    }  # fmt: skip
    for kind in KINDS:
        out = args.out / kind
        seconds = forecast(args.data, out, python, kind, args.months, args.truncation)
        # The first one compiles.
        found[kind] = {"seconds": seconds[1:], "scores": scores(args.data, out, args.months)}
        of = found[kind]["scores"]["z500"]
        print(kind, [round(x / of["spread"], 3) for x in of["rmse"]], seconds, flush=True)
    write(args.json or args.out / "gcm_forecasts.json", found)


if __name__ == "__main__":
    main()
