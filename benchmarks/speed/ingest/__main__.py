"""Speed and memory of the ingestion of gridded files, and a bare copy by xarray in the same run.

    python -m benchmarks.speed.ingest [--quick] [--json FILE] [--only NAME]

Cases, on synthetic files: a year of six-hourly states, 8 variables × 3 levels at 5.625 degrees, as
zarr in the layout of WeatherBench 2 and as netCDF; and some states of 27 channels at 0.25 degrees
in the layout of ARCO-ERA5. Ingestion and copy of the same arrays alternate, and minima and medians
are reported, and the minimum of the processor time, which other programs disturb less.
Peak memory is that of a new process, with its imports. The counts are those of another ingestion.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import Row, Timing, report, selected, versions

_LEVELS, _FINE_LEVELS = (250, 500, 850), (50, 250, 500, 700, 850)
_CASES = ("year as zarr", "year as netCDF", "0.25 degrees")
_YEAR, _QUICK = 1460, 200
_STATES = (2, 8)
_MIB = 2**20
_PACKAGES = ("numpy", "xarray", "zarr", "numcodecs", "netCDF4", "dask", "torch")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer times and runs")
    parser.add_argument("--json", type=Path, help="save the rows here")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="folder for the files; default: a temporary one"
    )
    parser.add_argument(
        "--measure", nargs=3, metavar=("WHAT", "LEVELS", "FILE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measured(*arguments.measure)))
        return
    names = selected(parser, arguments.only, _CASES)
    runs = 1 if arguments.quick else arguments.runs
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows, digests = _rows(Path(folder), names, _QUICK if arguments.quick else _YEAR, runs)
    report(
        rows,
        "ingestion of gridded files",
        arguments.json,
        about={"data": " ".join(digests)} | versions(*_PACKAGES),
    )


def _rows(folder: Path, names: list[str], n_times: int, runs: int) -> tuple[list[Row], list[str]]:
    from benchmarks.speed.ingest.files import Archive, as_netcdf

    rows: list[Row] = []
    digests = []
    if "year as zarr" in names or "year as netCDF" in names:
        archive = Archive(folder / "wb2.zarr", n_times, _LEVELS, fine=False)
        digests.append(archive.digest)
        if "year as zarr" in names:
            rows += _compared("zarr", archive.path, n_times, runs)
        if "year as netCDF" in names:
            file = as_netcdf(archive.path, folder / "wb2.nc")
            rows += _compared("netCDF", file, n_times, runs)
    if "0.25 degrees" in names:
        few, many = (Archive(folder / f"arco{n}.zarr", n, _FINE_LEVELS, fine=True) for n in _STATES)
        digests.append(many.digest)
        rows += _fine(few.path, many.path, runs)
    return rows, digests


def _compared(kind: str, path: Path, n_times: int, runs: int) -> list[Row]:
    """Return time, memory and counts of a year, and the time of a copy."""
    scratch = path.parent / "out"
    timing = _alternately(
        {
            "ours": lambda: _ingest(path, _LEVELS, scratch),
            "copy": lambda: _copy(path, scratch),
        },
        scratch,
        runs,
    )
    (ours, ours_cpu), (copy, copy_cpu) = timing["ours"], timing["copy"]
    shape = f"{n_times}×24×32×64"
    peak = _in_new_process("peak", _LEVELS, path)["peak"] / _MIB
    counts = _in_new_process("counts", _LEVELS, path)
    limit = 90.0 * n_times / _YEAR
    rows = [
        Row(
            f"{kind} to a store", shape, ours.minimum, copy.minimum, "copy by xarray",
            copy.minimum / ours.minimum, "s", None, ours.median, copy.median,
        ),
        Row(
            f"{kind} to a store, processor", shape, ours_cpu, copy_cpu, "copy by xarray",
            copy_cpu / ours_cpu, "s",
        ),
        Row(f"{kind}, time", shape, ours.minimum, limit, "bound", limit / ours.minimum, "s"),
        Row(f"{kind}, peak memory", shape, peak, 1536.0, "bound", 1536.0 / peak, "MiB"),
        Row(f"{kind}, opens of the file", shape, counts["opens"], 2.0, "bound", None, ""),
    ]  # fmt: skip
    if kind == "zarr":
        rows.append(
            Row(
                f"{kind}, decompressions of a chunk",
                shape,
                counts["decoded"],
                1.1,
                "bound",
                None,
                "",
            )
        )
    return rows


def _fine(few: Path, many: Path, runs: int) -> list[Row]:
    """Return the time of each further state at 0.25 degrees, and the memory."""
    scratch = few.parent / "out"
    timing = _alternately(
        {
            "few": lambda: _ingest(few, _FINE_LEVELS, scratch),
            "many": lambda: _ingest(many, _FINE_LEVELS, scratch),
        },
        scratch,
        runs,
    )
    further = _STATES[1] - _STATES[0]
    (few_time, few_cpu), (many_time, many_cpu) = timing["few"], timing["many"]
    each = (many_time.minimum - few_time.minimum) / further
    each_cpu = (many_cpu - few_cpu) / further
    mean = many_time.minimum / _STATES[1]
    peak = _in_new_process("peak", _FINE_LEVELS, many)["peak"] / _MIB
    shape = "27×721×1440"
    name = "0.25 degrees"
    return [
        Row(f"{name}, each further state", shape, each, 1.0, "bound", 1.0 / each, "s"),
        Row(f"{name}, the same, processor", shape, each_cpu, None, "", None, "s"),
        Row(f"{name}, mean of {_STATES[1]} states", shape, mean, 1.0, "bound", 1.0 / mean, "s"),
        Row(f"{name}, peak memory", shape, peak, 2048.0, "bound", 2048.0 / peak, "MiB"),
    ]


def _alternately(
    functions: dict[str, Callable[[], object]], scratch: Path, runs: int
) -> dict[str, tuple[Timing, float]]:
    """Time functions that write to a folder, in turn; return times and processor times."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    processor: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            start, used = time.perf_counter(), time.process_time()
            function()
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
            shutil.rmtree(scratch)
    return {
        name: (Timing(min(t), statistics.median(t)), min(processor[name]))
        for name, t in seconds.items()
    }


def _ingest(path: Path, levels: Sequence[int], out: Path) -> None:
    from benchmarks.speed.ingest.files import channel_names
    from configs.schema import FilesData
    from data_prep.ingest.run import ingest

    names = channel_names(tuple(levels), fine=tuple(levels) == _FINE_LEVELS)
    ingest([path], FilesData(variables=names), out)


def _copy(path: Path, out: Path) -> None:
    """Copy the variables and levels of the channels with xarray alone."""
    import xarray as xr

    from benchmarks.speed.ingest.files import COARSE

    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine, chunks={}) as data:
        chosen = data[list(COARSE)].sel(level=list(_LEVELS))
        chosen.drop_encoding().to_zarr(out, consolidated=False)


def _in_new_process(what: str, levels: Sequence[int], path: Path) -> dict[str, float]:
    words = ["--measure", what, ",".join(map(str, levels)), str(path)]
    command = [sys.executable, "-m", "benchmarks.speed.ingest", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured(what: str, levels: str, file: str) -> dict[str, float]:
    """Ingest in this process, and return its peak memory (bytes) or its counts."""
    chosen = tuple(map(int, levels.split(",")))
    path = Path(file)
    counts = _counted() if what == "counts" else {}
    out = path.parent / "measured"
    try:
        _ingest(path, chosen, out)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    if what == "counts":
        decoded: Counter[int] = counts["decoded"]
        mean = sum(decoded.values()) / len(decoded) if decoded else 0.0
        return {"opens": float(max(counts["opens"].values())), "decoded": mean}
    from sphere_ops.memory import peak_memory

    return {"peak": float(peak_memory())}


def _counted() -> dict[str, Counter[Any]]:
    """Count, in this process, opens of files and decompressions of chunks of zarr v2."""
    import numcodecs

    from data_prep.ingest import run
    from data_prep.ingest.sources import Sources

    opens: Counter[str] = Counter()
    decoded: Counter[int] = Counter()

    class CountedSources(Sources):
        def close(self) -> None:
            opens.update(self.opens)
            self.opens.clear()
            super().close()

    class CountedBlosc(numcodecs.Blosc):
        codec_id = "blosc"

        def decode(self, buf: Any, out: Any = None) -> Any:
            packed = bytes(buf)
            decoded[hash(packed)] += 1
            return super().decode(packed, out)

    setattr(run, "Sources", CountedSources)  # noqa: B010
    numcodecs.register_codec(CountedBlosc, "blosc")
    return {"opens": opens, "decoded": decoded}


if __name__ == "__main__":
    main()
