"""Matching of channels with the variables of a data set, by names, levels and standard names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.schema import FilesData
from configs.time.step import TimeStep
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.coordinates import pressure_levels
from data_prep.ingest.catalogue.fields import AmbiguousField
from data_prep.ingest.regridding.levels import Bracket, bracket

_ALOFT = frozenset({
    "tropopause", "maxWind", "potentialVorticity", "theta", "isothermZero", "isothermal",
    "highestTroposphericFreezing", "adiabaticCondensation", "cloudCeiling", "sigma", "sigmaLayer",
    "hybrid", "hybridLayer", "heightAboveSea", "pressureFromGroundLayer", "isobaricLayer",
})  # fmt: skip
"""Types of levels of GRIB on which a variable is not that of the surface of the same name."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Variable of a data set that may be a channel.

    Attributes:
        name: Name in the data set.
        level_dim: Dimension of its pressure levels; None for a single one.
        levels: Pressure levels in hPa; empty for a single level of another kind.
        owner: Variable of the table that its names belong to; None if the table does not have them.
        standard_name: CF standard name; empty if the data set gives none.
        level_type: Type of level of GRIB ("surface"); empty for other formats.
    """

    name: str
    level_dim: str | None
    levels: NDArray[np.float64]
    owner: Variable | None
    standard_name: str
    level_type: str


def candidates_of(dataset: xr.Dataset, table: VariableTable) -> list[Candidate]:
    """Return the variables of a data set."""
    found = []
    for key, array in dataset.data_vars.items():
        name, short = str(key), str(array.attrs.get("GRIB_shortName", ""))
        dim, levels = pressure_levels(dataset, name)
        owner = table.find(name, len(levels) > 0) or table.find(short, len(levels) > 0)
        standard_name = str(array.attrs.get("standard_name", ""))
        level_type = str(array.attrs.get("GRIB_typeOfLevel", ""))
        found.append(Candidate(name, dim, levels, owner, standard_name, level_type))
    return found


class Matcher:
    """Search for channels among the variables of data sets.

    Args:
        config: Renames, and whether levels may be interpolated.
        table: Table of variables.
    """

    def __init__(self, config: FilesData, table: VariableTable) -> None:
        self.config, self.table = config, table
        self._step = TimeStep.parse(config.time_step).label

    def match(
        self,
        candidates: Sequence[Candidate],
        channel: Variable,
        heights: Sequence[float],
        path: str,
    ) -> Candidate | None:
        """Return the variable that a channel is; None if the data set does not hold it.

        A name given by the configuration counts first, then the names of the table, then the
        standard name, and last the mean rate of an amount, or the other way round.

        Args:
            candidates: Variables of the data set.
            channel: Channel.
            heights: Heights above the surface of the data set, m.
            path: Source, for messages.

        Raises:
            AmbiguousField: if several variables match equally well.
        """
        ranks: tuple[list[Candidate], ...] = ([], [], [], [])
        for candidate in candidates:
            rank = self._rank(candidate, channel, heights)
            if rank is not None:
                ranks[rank].append(candidate)
        for found in ranks:
            # Of names that say a period of accumulation, that of the store is meant.
            same = [c for c in found if self.table.period_of(c.name) == self._step]
            found = same or found
            if len(found) > 1:
                names = [c.name for c in found]
                raise AmbiguousField(
                    f"{path}: {channel.name} could be any of {', '.join(names)}",
                    f"say which with data.rename.{names[0]}={channel.name}",
                )
            if found:
                return found[0]
        return None

    def is_related(self, candidate: Candidate, channel: Variable) -> bool:
        """Return True for the mean rate of the channel, or for the amount whose rate it is."""
        owner = candidate.owner
        renamed = candidate.name in self.config.rename
        return owner is not None and not renamed and owner.base != channel.base

    def exact_level(self, candidate: Candidate, channel: Variable) -> int | None:
        """Return the index of the level of a channel; None if the variable does not have it."""
        if channel.level is None or not len(candidate.levels):
            return 0
        exact = np.flatnonzero(np.isclose(candidate.levels, channel.level, rtol=1e-4))
        return int(exact[0]) if len(exact) else None

    def between(self, candidate: Candidate, channel: Variable) -> Bracket | None:
        """Return the levels around a channel, if it may be interpolated between them."""
        levels = candidate.levels
        if channel.level is None or not (self.config.interpolate_levels and len(levels)):
            return None
        inside = levels.min() < channel.level < levels.max()
        return bracket(levels, float(channel.level)) if inside else None

    def _rank(
        self, candidate: Candidate, channel: Variable, heights: Sequence[float]
    ) -> int | None:
        """Return 0 for a rename, 1 for a name, 2 for a standard name, 3 for a rate, else None."""
        owner, renamed = candidate.owner, self.config.rename.get(candidate.name)
        has_level = self._has_level(candidate, channel)
        if renamed is not None:
            is_meant = renamed == channel.name or (renamed == channel.base and has_level)
            return 0 if is_meant else None
        if not has_level and not _says_level(candidate, channel):
            return None
        if owner is None:
            return 2 if self._same_quantity(candidate, channel, heights) else None
        if owner.base == channel.base:
            return 1
        return 3 if channel.name == owner.rate_of or channel.rate_of == owner.name else None

    def _has_level(self, candidate: Candidate, channel: Variable) -> bool:
        """Return True if a variable has the level of the channel, or neither has a level."""
        if channel.level is None:
            single = candidate.level_dim is None and not len(candidate.levels)
            return single and candidate.level_type not in _ALOFT
        if not len(candidate.levels):
            return False
        exact = self.exact_level(candidate, channel)
        return exact is not None or self.between(candidate, channel) is not None

    def _same_quantity(
        self, candidate: Candidate, channel: Variable, heights: Sequence[float]
    ) -> bool:
        """Return True if the standard name is that of the channel alone, at its height."""
        height = {"geopotential_height": "geopotential"} if channel.level is not None else {}
        name = height.get(candidate.standard_name, candidate.standard_name)
        if not name or name != channel.standard_name:
            return False
        if channel.level is not None:
            return True
        if channel.height is not None:
            return list(heights) == [channel.height]
        alike = [v for v in self.table.variables.values() if v.standard_name == name]
        return sum(v.height is None and v.name not in self.table.levelled for v in alike) == 1


def heights_of(dataset: xr.Dataset) -> list[float]:
    """Return the heights above the surface that a data set states, m."""
    return [
        float(v.values)
        for v in dataset.variables.values()
        if v.ndim == 0 and v.attrs.get("standard_name") == "height"
    ]


def _says_level(candidate: Candidate, channel: Variable) -> bool:
    """Return True for a variable without levels whose name says that of the channel."""
    return (
        channel.level is not None
        and not len(candidate.levels)
        and candidate.owner is not None
        and candidate.owner.name == channel.name
    )
