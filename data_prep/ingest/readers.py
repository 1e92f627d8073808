"""Lazy access to netCDF, GRIB and zarr files."""

from __future__ import annotations

# Imported before eccodes: its wheel contains an SQLite library that is too old for MLflow.
import sqlite3  # noqa: F401
import sys
import warnings
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import xarray as xr

from data_prep.ingest.classic_netcdf import check_complete

_OPEN_AT_ONCE = 16


class Files:
    """Lazily opened files; the least recently used file is closed when too many are open.

    A file is a list of data sets, since a GRIB file may hold several with different dimensions.
    """

    def __init__(self, wanted: Collection[str]) -> None:
        """Start without open files.

        Args:
            wanted: Names of the variables of interest, in lower case. Only these are opened in a
                GRIB file with several kinds of levels.
        """
        self._wanted = frozenset(wanted)
        self._open: OrderedDict[Path, list[xr.Dataset]] = OrderedDict()

    def __enter__(self) -> Files:
        """Return the collection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        while self._open:
            self._close_oldest()

    def __getitem__(self, path: Path) -> list[xr.Dataset]:
        """Return the data sets of a file, and open it if needed."""
        if path not in self._open:
            if len(self._open) >= _OPEN_AT_ONCE:
                self._close_oldest()
            self._open[path] = open_file(path, self._wanted)
        self._open.move_to_end(path)
        return self._open[path]

    def _close_oldest(self) -> None:
        _, datasets = self._open.popitem(last=False)
        for dataset in datasets:
            dataset.close()


def open_file(path: Path, wanted: Collection[str] = ()) -> list[xr.Dataset]:
    """Open a netCDF, GRIB or zarr file without decoding its times.

    Args:
        path: File, or folder of a zarr group.
        wanted: Names of the variables of interest, see `Files`.

    Returns:
        Data sets of the file. Packed values are unpacked when they are read.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the format is not supported, or the file is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"input {path} does not exist; check the path")
    kind = _format(path)
    try:
        if kind == "GRIB":
            return _open_grib(path, wanted)
        options: dict[str, Any] = {"decode_times": False, "chunks": None}
        if kind == "zarr":
            options["consolidated"] = (path / ".zmetadata").exists()
        else:
            check_complete(path)
        engine = "zarr" if kind == "zarr" else "netcdf4"
        with warnings.catch_warnings():
            # For instance a fill value outside the range of a packed variable: harmless.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            return [xr.open_dataset(path, engine=engine, **options)]
    except ImportError:
        raise ValueError(
            f"{path} is GRIB, which needs two more packages; "
            "install them with: pip install 'sphere-forecast[grib]'"
        ) from None
    except read_errors() as error:
        raise unreadable(path, error) from error


def read_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the libraries raise for a damaged file."""
    eccodes = sys.modules.get("eccodes")
    errors = (OSError, ValueError, KeyError, EOFError, RuntimeError)
    return errors if eccodes is None else (*errors, eccodes.CodesInternalError)


def unreadable(path: Path, error: Exception) -> ValueError:
    """Return the error of a damaged file, with a message of one line."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(
        f"{path} cannot be read ({reason}); the file may be damaged or incomplete, fetch it again"
    )


def _format(path: Path) -> str:
    """Return the format of a file, from its first bytes."""
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            return "zarr"
        raise ValueError(f"{path} is a folder and no zarr group; give the files inside it")
    with path.open("rb") as file:
        start = file.read(8)
    if start[:3] == b"CDF" or start == b"\x89HDF\r\n\x1a\n":
        return "netCDF"
    if start[:4] == b"GRIB":
        return "GRIB"
    raise ValueError(
        f"{path} is neither netCDF nor GRIB nor zarr (it starts with {start!r}); convert it to one "
        "of these"
    )


def grib_names(path: Path) -> list[str]:
    """Return the short names of the fields in a GRIB file, in alphabetical order."""
    import cfgrib

    return sorted({str(m["shortName"]) for _, m in cfgrib.FileStream(str(path)).items()})


def _open_grib(path: Path, wanted: Collection[str]) -> list[xr.Dataset]:
    import cfgrib

    def opened(**keys: Any) -> xr.Dataset:
        # Without an empty index path cfgrib writes an index file beside the data.
        options: dict[str, Any] = {"indexpath": "", "errors": "raise", "filter_by_keys": keys}
        return xr.open_dataset(path, engine="cfgrib", decode_times=False, chunks=None, **options)

    try:
        return [opened()]
    except cfgrib.DatasetBuildError:
        pass  # several kinds of levels or steps: one data set for each
    kinds = {
        (message["paramId"], message["typeOfLevel"])
        for _, message in cfgrib.FileStream(str(path)).items()
        if {str(message[k]).lower() for k in ("shortName", "cfVarName")} & set(wanted)
    }
    datasets = []
    for parameter, level in sorted(kinds):
        try:
            datasets.append(opened(paramId=parameter, typeOfLevel=level))
        except cfgrib.DatasetBuildError as error:
            raise ValueError(
                f"it mixes fields that do not form one array (parameter {parameter} on {level}: "
                f"{str(error).splitlines()[0]}); split it with grib_copy or grib_filter"
            ) from None
    return datasets
