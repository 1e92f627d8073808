"""Time of each plot command, as a user waits for it.

    python -m benchmarks.speed.plots [--json FILE] [--only NAME] [--runs N]

Each command runs in a new process, with an empty home folder, so that nothing is cached, and where
the system allows it without a network. The forecast is an ensemble of 8 members on 64×128, of
shallow-water states.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed.measure import Row, report, selected, versions

_LIMIT = 10.0  # s
_PERTURBED = ("--members", "8", "--perturb", "field:amplitude=0.2,length=1500km")
_PLOTS = {
    "map, with truth": "map a.nc --variable vorticity --truth s.zarr",
    "map, orthographic": "map a.nc --variable vorticity --projection orthographic",
    "map, north-polar": "map a.nc --variable vorticity --projection north-polar",
    "map, region": "map a.nc --variable vorticity --region europe --coastlines",
    "hovmoeller": "hovmoeller a.nc --variable vorticity",
    "section": "section a.nc --variable vorticity",
    "series": "series a.nc --point 45,10 --truth s.zarr",
    "spaghetti": "spaghetti a.nc --variable geopotential",
    "spread": "spread a.nc --variable vorticity",
    "scores": "scores a-scores.nc",
    "scorecard": "scorecard a-scores.nc b-scores.nc",
    "ranks": "ranks a-scores.nc",
    "reliability": "reliability a-scores.nc",
    "spectrum": "spectrum a.nc --data s.zarr",
    "climate": "climate climate.nc",
    "animation, 12 frames": "animation a.nc --variable vorticity",
}


def main() -> None:
    """Time the commands and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument(
        "--only", default="", help="plots whose name contains this; other rows of the file are kept"
    )
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    names = selected(parser, arguments.only, _PLOTS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _prepare(folder)
        rows = [_row(name, folder, arguments.runs) for name in names]
    about = versions("matplotlib", "cartopy", "xarray")
    report(rows, "plots", arguments.json, about=about, keep=bool(arguments.only))


def _prepare(folder: Path) -> None:
    """Make a store, a model, two ensembles, their scores, and a climate."""
    grid = ["data.grid.nlat=64", "data.grid.nlon=128", "data.lmax=43", "data.n_steps=16"]
    few = [f"data.trajectories.{split}=1" for split in ("train", "validation", "test")]
    training = ["training.steps=4", "training.validate_every=4", "training.validation_states=1"]
    scored = ("--data", "s.zarr", "--threshold", "vorticity>1e-5")
    for words in (
        ["data", "swe", "swe_smoke", "--out", "s.zarr", *grid, *few],
        ["train", "swe_smoke", "--data", "s.zarr", "--out", "run", *grid, *few,
         *training,
         "training.validation_rollout=2", "tracking.enabled=false"],
        ["rollout", "run", "--data", "s.zarr", "--out", "a.nc", "--steps", "12", *_PERTURBED],
        ["rollout", "run", "--data", "s.zarr", "--out", "b.nc", "--steps", "12", *_PERTURBED,
         "--seed", "1"],
        ["evaluate", "a.nc", "--out", "a-scores.nc", *scored],
        ["evaluate", "b.nc", "--out", "b-scores.nc", *scored],
        ["climate", "a.nc", "--data", "s.zarr", "--out", "climate.nc"],
    ):  # fmt: skip
        _forecast(words, folder, dict(os.environ))


def _row(name: str, folder: Path, runs: int) -> Row:
    words = ["plot", *_PLOTS[name].split()]
    suffix = ".gif" if words[1] == "animation" else ".png"
    times = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            environment = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home}
            environment |= {k: os.environ[k] for k in ("PYTHONPATH",) if k in os.environ}
            out = Path(home, f"plot{suffix}")
            started = time.perf_counter()
            _forecast([*words, "--out", str(out)], folder, environment, alone=True)
            times.append(time.perf_counter() - started)
            assert out.stat().st_size > 0
    least = min(times)
    return Row(
        name, "64×128", least, _LIMIT, "the limit", _LIMIT / least, "s",
        ours_median=statistics.median(times), peer_median=_LIMIT,
    )  # fmt: skip


def _forecast(
    words: list[str], folder: Path, environment: dict[str, str], *, alone: bool = False
) -> None:
    """Run a command of the package in a folder; `alone` cuts it off from the network."""
    command = [sys.executable, "-m", "forecast", *words]
    if alone and _can_unshare():
        command = ["unshare", "--net", "--map-root-user", *command]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run(
        ["unshare", "--net", "--map-root-user", "true"], capture_output=True
    ).returncode


if __name__ == "__main__":
    main()
