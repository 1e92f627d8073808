"""Where a store came from: its sources, and the versions of what made it."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = (
    "sphere-forecast", "numpy", "scipy", "torch", "torch-harmonics", "xarray", "zarr", "netCDF4",
    "cftime", "cfgrib", "eccodes",
)  # fmt: skip


def provenance(sources: Sequence[dict[str, Any]]) -> str:
    """Describe the origin of a data set as JSON text.

    Args:
        sources: one dictionary per file or generator; anything that JSON can hold.

    Returns:
        A JSON object with `sources`, `packages` (name to version) and `python`.
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps(
        {"sources": list(sources), "packages": packages, "python": platform.python_version()}
    )
