"""Records of a study: JSON files that are made once, and the digest of the data they are of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.store.reader import Store


def saved(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a JSON file holds; make and write it first if it is absent."""
    if not path.exists():
        write(path, make())
    return read(path)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file; numbers that are not finite become null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(finite(content), indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def finite(value: Any) -> Any:
    """Return a tree of values whose numbers that are not finite are None."""
    if isinstance(value, dict):
        return {key: finite(of) for key, of in value.items()}
    if isinstance(value, list | tuple):
        return [finite(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_DIGEST_BLOCK = 64  # states that are read at once


def digest(store: Store) -> str:
    """Return the SHA-256 of the times and of all fields of a store."""
    sha = hashlib.sha256(store.time.tobytes())
    for i in range(len(store.split) if store.has_trajectories else 1):
        for start in range(0, len(store.time), _DIGEST_BLOCK):
            count = min(_DIGEST_BLOCK, len(store.time) - start)
            sha.update(store.states(i, start, count).numpy().tobytes())
    return sha.hexdigest()
