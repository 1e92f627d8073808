"""Interface of a circulation model."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.gcm.worker.segments import Segment

Array = NDArray[np.floating]


class CirculationModel(Protocol):
    """Circulation model on sigma levels and a Gaussian grid.

    Attributes:
        sigma: Pressure of the levels over that of the surface, ascending, (k,).
        latitude: Degrees north, (nlat,).
        longitude: Degrees east, (nlon,).
        source: Name and version of the model.
        units: Units of all fields that it gives.
        static: Fields without time, (nlat, nlon).
    """

    sigma: Array
    latitude: Array
    longitude: Array
    source: str
    units: dict[str, str]
    static: dict[str, Array]

    def start(self, day: np.datetime64) -> Any:
        """Return the state one step before midnight of a day, from which a run starts."""

    def begin(self, segment: Segment) -> None:
        """Prepare what is given from outside in a segment."""

    def advance_day(self, state: Any) -> tuple[Any, dict[str, Array]]:
        """Advance a state by a day.

        Returns:
            The state, and the fields at the end of each step: those of model levels (n, k, nlat,
            nlon), with u, v, t, q, z among them, and others (n, nlat, nlon), with sp (surface
            pressure, Pa) among them.
        """

    def arrays(self, state: Any) -> list[NDArray[Any]]:
        """Return the arrays of a state."""

    def state(self, arrays: list[NDArray[Any]]) -> Any:
        """Return the state of its arrays."""
