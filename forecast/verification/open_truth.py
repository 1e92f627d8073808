"""Opening of the truth of a forecast file, by the arguments of a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.verification.conventions import DEFAULT, conventions_named
from forecast.verification.references import References
from forecast.verification.truth import Truth


def open_truth(
    file: ForecastFile,
    data: str | Path | None,
    truth: str | Path | None = None,
    *,
    climatology: str | Path | None = None,
    conventions: str = DEFAULT.name,
    points: NDArray[np.bool_] | None = None,
) -> Truth:
    """Return the truth of a forecast file.

    Args:
        file: Forecast file.
        data: Store that the forecast started from, which is checked. It has the truth unless
            `truth` is given, and the climatology unless `climatology` is.
        truth: Store with the truth that the forecast need not have started from.
        climatology: Package or store whose climatology and means are used.
        conventions: Name of the conventions.
        points: Mask of the only points to score, (c, nlat, nlon); all if None.

    Raises:
        ValueError: If the stores do not fit the forecast, neither is given, or the conventions need
            another climatology.
        FileNotFoundError: If a path does not exist.
    """
    named = conventions_named(conventions)
    origin, other = (None if path is None else _opened(path) for path in (data, truth))
    store = other or origin
    if store is None:
        raise ValueError(
            f"{file.path} needs a truth; give the store that it started from with --data, or "
            "another store with --truth"
        )
    for held, started_there in ((origin, True), (other, False)):
        if held is not None:
            file.check_fits(held, started_there=started_there)
    references = (
        References.of_store(origin or store, file)
        if climatology is None
        else References.open(climatology, file)
    )
    if named.by_day and not references.by_day:
        raise ValueError(
            f"conventions {named.name} need a climatology by day of the year and hour, and "
            f"{references.name} has none; make the store with data.climatology.by=day, or name "
            "one that has as climatology"
        )
    return Truth(file, store, references, named, points, elsewhere=other is not None, origin=origin)


def _opened(path: str | Path) -> Store:
    """Open a store of which a few states are needed, each of them once."""
    store = Store(path)
    store.reader.in_memory = False
    return store
