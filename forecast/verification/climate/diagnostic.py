"""Protocol of a diagnostic: update with blocks of states, results, distances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast.verification import metrics
from forecast.verification.climate.accumulators import Groups
from forecast.verification.climate.setting import Block, Setting

Array = NDArray[np.floating[Any]]
Result = Mapping[str, Array]
"""Statistics of a set of groups, or distances, by name."""
Coordinate = tuple[tuple[str, ...], Any, dict[str, str]]

OF_CHANNEL = "channel"
"""Units of a statistic that are those of each channel."""


@dataclass(frozen=True)
class Statistic:
    """Variable of the climate file.

    Attributes:
        name: Name of the variable.
        long_name: Description.
        dims: Dims of the values.
        units: UDUNITS, or `OF_CHANNEL`; empty for other units, which `long_name` then says.
        logarithmic: True if the sampling range is that of the logarithm.
        cell_methods: CF cell methods; empty for none.
        sampled: True if the range that sampling alone allows is computed.
    """

    name: str
    long_name: str
    dims: tuple[str, ...]
    units: str = OF_CHANNEL
    logarithmic: bool = False
    cell_methods: str = ""
    sampled: bool = True


@dataclass(frozen=True)
class Distance:
    """Distance between two climates.

    Attributes:
        name: Name of the distance.
        long_name: Description.
        units: UDUNITS, or `OF_CHANNEL` for those of the quantity.
    """

    name: str
    long_name: str
    units: str = "1"


class Diagnostic(ABC):
    """Diagnostic of one source: accumulated from blocks of states, by group.

    Attributes:
        statistics: Variables that `result` returns.
        distances: Distances that `distance` returns.
        setting: Facts on the states.
        n_groups: Number of groups of the source.
    """

    statistics: ClassVar[tuple[Statistic, ...]]
    distances: ClassVar[tuple[Distance, ...]]

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        self.setting, self.n_groups = setting, n_groups

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out; empty if it is not."""
        return ""

    @property
    def quantities(self) -> tuple[tuple[str, str], ...]:
        """Name and units of each quantity that `distance` compares: the channels by default."""
        return tuple((v.name, v.units) for v in self.setting.channels)

    @property
    def coordinates(self) -> Mapping[str, Coordinate]:
        """Coordinates of dims other than `channel`, `latitude` and `longitude`."""
        return {}

    @abstractmethod
    def update(self, block: Block) -> None:
        """Take the states of a block."""

    @abstractmethod
    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""

    @abstractmethod
    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results, an array over `quantities` each."""

    def expected(self, a: Result, b: Result) -> Result:
        """Return distances expected by sampling alone, of statistics with error bars of their own.

        The other ones are estimated from halves of the truth.
        """
        return {}

    @property
    def everything(self) -> Groups:
        """Indices of all groups."""
        return range(self.n_groups)

    def area_rms(self, x: Array) -> Array:
        """Return the area-weighted rms of finite values, (...) of (..., nlat, nlon)."""
        square = metrics.spatial_mean(x**2, np.isfinite(x), self.setting.area)
        return np.asarray(np.sqrt(square))


def log_ratio(a: Array, b: Array, floor: float = 0.0) -> Array:
    """Return ln(a/b), NaN where one is not above a floor, relative to the maximum of b.

    Args:
        a: Positive values (q, ...).
        b: Positive values (q, ...).
        floor: Smallest value that counts, relative to the largest one of b of each quantity.
    """
    axes = tuple(range(1, b.ndim))
    with np.errstate(invalid="ignore", divide="ignore"):
        least = floor * np.max(np.nan_to_num(b), axis=axes, keepdims=True)
        counts = (a > least) & (b > least)
        return np.where(counts, np.log(a / b), np.nan)


def rms(x: Array) -> Array:
    """Return the root mean square of finite values of each quantity, (q,) of (q, ...)."""
    flat = x.reshape(len(x), -1)
    n = np.isfinite(flat).sum(1)
    total = np.nansum(flat**2, axis=1)
    return np.asarray(np.sqrt(total / np.where(n > 0, n, np.nan)))
