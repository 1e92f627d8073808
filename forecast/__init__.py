"""Model, training, rollout, evaluation and plots of forecasts on the sphere.

`load_package`, `Forecaster`, `LocalSFNO` and `Store` are here too; they are loaded at first use,
since torch takes seconds and the command line's help should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecast.checkpoint import load_package
    from forecast.forecaster import Forecaster
    from forecast.model import LocalSFNO
    from forecast.store import Store

__all__ = ["Forecaster", "LocalSFNO", "Store", "load_package"]

_HOMES = {
    "Forecaster": "forecast.forecaster",
    "LocalSFNO": "forecast.model",
    "Store": "forecast.store",
    "load_package": "forecast.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
