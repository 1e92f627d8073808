"""Paths of sources: expansion of patterns and folders, and formats of files."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from data_prep.ingest.sources.remote import expand_url, local_path
from data_prep.ingest.sources.zarr_groups import is_zarr

SUFFIXES = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".grib", ".grib1", ".grib2", ".grb", ".grb2")
"""Endings of files that are taken from a folder."""


def expand(words: Iterable[str | Path]) -> list[str]:
    """Return the paths of sources, each once, in the order in which they are given.

    Args:
        words: Paths of files or zarr groups, patterns, folders of files, and URLs of these.

    Raises:
        FileNotFoundError: if a path does not exist, or a pattern matches nothing.
        ValueError: if a folder holds no files of a known format, or a URL cannot be used.
    """
    found: dict[str, None] = {}
    for word in map(str, words):
        local = local_path(word)
        paths = expand_url(word, SUFFIXES) if local is None else _expand_local(local)
        found |= dict.fromkeys(paths)
    return list(found)


def _expand_local(word: str) -> list[str]:
    path = Path(word).expanduser()
    if not path.exists():
        if not glob.has_magic(word):
            raise FileNotFoundError(f"input {word} does not exist; check the path")
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise FileNotFoundError(f"no file matches {word}; check the pattern")
        return [one for match in matches for one in _expand_local(match)]
    if path.is_dir() and not is_zarr(path):
        inside = [one for one in sorted(path.iterdir()) if _is_source(one)]
        if not inside:
            raise ValueError(
                f"{word} is a folder and no zarr group, and it holds no files of the kinds "
                f"{', '.join(SUFFIXES)} or zarr; give files, or a pattern such as {word}/*/*.nc"
            )
        return list(map(str, inside))
    return [str(path)]


def _is_source(path: Path) -> bool:
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in SUFFIXES


def file_format(path: Path, name: str) -> str:
    """Return the format of a file from its first bytes: "netCDF" or "GRIB".

    Args:
        path: File on this machine.
        name: Name of the source in error messages.

    Raises:
        ValueError: if it is of another format.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start[:3] == b"CDF" or start == b"\x89HDF\r\n\x1a\n":
        return "netCDF"
    if start[:4] == b"GRIB":
        return "GRIB"
    raise ValueError(
        f"{name} is neither netCDF nor GRIB nor zarr (it starts with {start!r}); convert it to one "
        "of these"
    )
