"""Sources of gridded data: opened when they are needed, closed when too many are open."""

from __future__ import annotations

import resource
import tempfile
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from zarr.abc.store import Store

from configs.schema import FilesData
from data_prep.ingest.sources import fingerprint as fingerprints
from data_prep.ingest.sources.description import described
from data_prep.ingest.sources.errors import read_errors, unreadable
from data_prep.ingest.sources.netcdf import open_netcdf
from data_prep.ingest.sources.paths import SUFFIXES, expand, file_format
from data_prep.ingest.sources.remote import fetch, local_path, zarr_store
from data_prep.ingest.sources.zarr_groups import open_zarr


class Sources:
    """Files, zarr groups and URLs as lists of data sets, safe to use from several threads.

    Data sets are not decoded in time, and read nothing but coordinates when they are opened. The
    least recently used source is closed when too many are open; its data sets can still be read,
    which opens it again. Copies of remote files are kept until the end.

    Attributes:
        paths: Paths and URLs, each once, in the order in which they were given.
        opens: Number of times that each was opened.
    """

    def __init__(self, words: Sequence[str | Path], description: FilesData | None = None) -> None:
        """Expand the paths; nothing is opened.

        Args:
            words: Paths of files or zarr groups, patterns, folders of files, and URLs of these.
            description: Section `data` of the configuration; its dimensions, time units and
                calendar are given to the data sets.

        Raises:
            FileNotFoundError: if a path does not exist, or a pattern matches nothing.
            ValueError: if a folder holds no files of a known format, or a URL cannot be used.
        """
        self.paths = expand(words)
        self.opens: Counter[str] = Counter()
        self._description = description
        self._open: OrderedDict[str, list[xr.Dataset]] = OrderedDict()
        self._lock = threading.RLock()
        self._most = _most_open()
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._copied: dict[str, Path] = {}

    def __enter__(self) -> Sources:
        """Return the sources."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all sources, and remove copies of remote files."""
        self.close()

    def __getitem__(self, path: str | Path) -> list[xr.Dataset]:
        """Return the data sets of a source, and open it if needed.

        Raises:
            FileNotFoundError: if the source does not exist.
            ValueError: if its format is not supported, if it is damaged or cannot be reached, or
                if the description does not fit.
        """
        name = str(path)
        with self._lock:
            if name not in self._open:
                if len(self._open) >= self._most:
                    self._close_oldest()
                self._open[name] = self._opened(name)
            self._open.move_to_end(name)
            return self._open[name]

    def fingerprint(self, path: str | Path) -> dict[str, Any]:
        """Return name, size, time of modification and digest; see `fingerprint.fingerprint`."""
        return fingerprints.fingerprint(str(path))

    def close(self) -> None:
        """Close all sources, and remove copies of remote files."""
        with self._lock:
            while self._open:
                self._close_oldest()
            if self._copies is not None:
                self._copies.cleanup()
                self._copies = None
                self._copied.clear()

    def _close_oldest(self) -> None:
        _, datasets = self._open.popitem(last=False)
        for dataset in datasets:
            dataset.close()

    def _opened(self, name: str) -> list[xr.Dataset]:
        self.opens[name] += 1
        datasets = self._datasets(name)
        if self._description is None:
            return datasets
        try:
            return [described(dataset, self._description) for dataset in datasets]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _datasets(self, name: str) -> list[xr.Dataset]:
        local = local_path(name)
        if local is None:
            store = zarr_store(name, SUFFIXES)
            return _open(name, self._copy(name) if store is None else store)
        path = Path(local)
        if not path.exists():
            raise FileNotFoundError(f"input {name} does not exist; check the path")
        return _open(name, path)

    def _copy(self, url: str) -> Path:
        """Return the path of the local copy of a remote file."""
        if url not in self._copied:
            if self._copies is None:
                self._copies = tempfile.TemporaryDirectory(prefix="sphere-forecast-")
            target = Path(self._copies.name) / str(len(self._copied))
            fetch(url, target)
            self._copied[url] = target
        return self._copied[url]


def _open(name: str, source: Path | Store) -> list[xr.Dataset]:
    """Open a file, a folder of a zarr group or a store, with errors that name the source."""
    kind = "zarr"
    if isinstance(source, Path) and source.is_file():
        kind = file_format(source, name)
    try:
        return _opener(kind, keep_index=local_path(name) is not None)(source)
    except ImportError:
        raise ValueError(
            f"{name} is GRIB, which needs the package eccodes; install it with: "
            "pip install 'sphere-forecast[grib]'"
        ) from None
    except read_errors() as error:
        raise unreadable(name, error) from error


def _opener(kind: str, keep_index: bool) -> Callable[[Any], list[xr.Dataset]]:
    if kind == "GRIB":
        from data_prep.ingest.sources.grib.datasets import open_grib

        return partial(open_grib, keep_index=keep_index)
    return open_netcdf if kind == "netCDF" else open_zarr


def _most_open() -> int:
    """Return the largest number of open sources: xarray keeps no more files open at once."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = int(xr.get_options()["file_cache_maxsize"])
    return files if limit == resource.RLIM_INFINITY else max(1, min(files, limit // 4))
