"""Fingerprints, by which a change of a source is noticed later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.ingest.sources.remote import local_path, read_bytes, remote_state
from data_prep.ingest.sources.zarr_groups import METADATA

_PART = 64 * 1024  # bytes at each end of a file
_ARRAY_METADATA = frozenset({*METADATA, ".zarray", ".zattrs"})


def fingerprint(source: str) -> dict[str, Any]:
    """Return name, size, time of modification and digest of a source.

    The digest covers the first and last bytes of a file, or the metadata of a zarr group and the
    names and sizes of its chunks. It does not depend on the place of the source. For a remote
    source it covers the ETag and similar headers, or the metadata in the root of a zarr group; it
    is None if the server sends none.

    Args:
        source: Path or URL.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it cannot be reached.
    """
    local = local_path(source)
    if local is None:
        return _remote(source)
    path = Path(local)
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> dict[str, Any]:
    status = path.stat()
    digest = hashlib.blake2b(str(status.st_size).encode(), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_PART))
        file.seek(max(0, status.st_size - _PART))
        digest.update(file.read(_PART))
    return _result(path.name, status.st_size, _date(status.st_mtime), digest.hexdigest())


def _folder(path: Path) -> dict[str, Any]:
    digest, size, latest = hashlib.blake2b(digest_size=16), 0, 0.0
    for entry in _entries(path):
        status = entry.stat()
        size, latest = size + status.st_size, max(latest, status.st_mtime)
        digest.update(f"{Path(entry.path).relative_to(path)} {status.st_size}\n".encode())
        if entry.name in _ARRAY_METADATA:
            digest.update(Path(entry.path).read_bytes())
    return _result(path.name, size, _date(latest), digest.hexdigest())


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all files below a folder in alphabetical order."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            yield from _entries(Path(entry.path))
        else:
            yield entry


def _remote(url: str) -> dict[str, Any]:
    name = url.split("::")[0].rstrip("/").rpartition("/")[2]
    metadata = read_bytes(url, METADATA)
    if metadata:
        digest = hashlib.blake2b(digest_size=16)
        for key in sorted(metadata):
            digest.update(key.encode() + metadata[key])
        return _result(name, None, None, digest.hexdigest())
    known = remote_state(url)
    state = json.dumps([known["size"], known["state"]], sort_keys=True)
    modified = next((v for k, v in known["state"].items() if "od" in k or "time" in k), None)
    digest_text = hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
    return _result(name, known["size"], modified, digest_text if known["state"] else None)


def _result(name: str, size: int | None, modified: str | None, digest: str | None) -> dict:
    return {"name": name, "size": size, "modified": modified, "digest": digest}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
