"""Model, training, rollout, evaluation and plots of forecasts on the sphere.

`load_package`, `Forecaster`, `LocalSFNO` and `Store` are here too; they are loaded at first use,
since torch takes seconds and the command line's help should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.store.reader import Store
    from forecast.model.forecaster import Forecaster
    from forecast.model.network import LocalSFNO
    from forecast.model.package import load_package

__all__ = ["Forecaster", "LocalSFNO", "Store", "load_package"]

_HOMES = {
    "Forecaster": "forecast.model.forecaster",
    "LocalSFNO": "forecast.model.network",
    "Store": "data_prep.store.reader",
    "load_package": "forecast.model.package",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
