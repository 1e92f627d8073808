"""Model, training, rollout, evaluation and plots of forecasts on the sphere.

The names of `__all__` are loaded at first use, since torch takes seconds and the command line's
help should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.store.reader import Store
    from forecast.inference.initial_states import InitialStates
    from forecast.inference.rollout import rollout
    from forecast.model.forecaster import Forecaster
    from forecast.model.network import LocalSFNO
    from forecast.model.package import load_package
    from forecast.model.state import State

__all__ = [
    "Forecaster",
    "InitialStates",
    "LocalSFNO",
    "State",
    "Store",
    "load_package",
    "rollout",
]

_HOMES = {
    "Forecaster": "forecast.model.forecaster",
    "InitialStates": "forecast.inference.initial_states",
    "LocalSFNO": "forecast.model.network",
    "State": "forecast.model.state",
    "Store": "data_prep.store.reader",
    "load_package": "forecast.model.package",
    "rollout": "forecast.inference.rollout",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'forecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
