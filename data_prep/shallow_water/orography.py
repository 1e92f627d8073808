"""Height of the surface from a file, for the solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from configs.schema import FilesData
from configs.variables import BUILT_IN
from data_prep.ingest.catalogue.fields import AmbiguousField, read_fields
from data_prep.ingest.catalogue.search import Search
from data_prep.ingest.regridding.regrid import Regridder
from data_prep.ingest.sources import Sources
from data_prep.shallow_water.physics import analysed
from data_prep.solvers.truncation import quadratic_grid


def read_surface(path: Path, lmax: int) -> Tensor:
    """Return the coefficients of the height of the surface in a file, m, (lmax, lmax).

    Negative heights are set to 0.

    Args:
        path: File of any format that `forecast data ingest` reads, on any global grid.
        lmax: Truncation, exclusive.

    Raises:
        ValueError: if the file has no orography, missing values, or no global grid.
        FileNotFoundError: if the file does not exist.
    """
    if not path.exists():
        raise FileNotFoundError(f"orography file {path} does not exist")
    orography = BUILT_IN.variable("orography")
    config = FilesData(variables=(orography.name,))
    with Sources([path]) as files:
        try:
            found = Search(config, BUILT_IN).run(files, [orography]).found.get(orography.name)
        except AmbiguousField as error:
            raise ValueError(
                f"{error.reason}; the solver reads one field of heights: give a file that holds "
                "only this field, with units 'm'"
            ) from None
        if not found:
            names = ", ".join((orography.name, *orography.aliases))
            raise ValueError(
                f"{path} has no orography; expected one variable of the names {names}, in m"
            )
        height = read_fields(files, found[:1], np.zeros(1, dtype=np.intp), 0)[0]
    grid = quadratic_grid(lmax)
    if not np.isfinite(height).all():
        raise ValueError(f"the orography of {path} has missing values; fill them first")
    return analysed(
        Regridder(found[0].grid, grid)(np.maximum(height, 0).astype(np.float64))[0], lmax
    )
