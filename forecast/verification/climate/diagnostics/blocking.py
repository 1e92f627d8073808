"""Blocking by the reversal of the meridional gradient of the height of 500 hPa."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import Diagnostic, Distance, Result, Statistic
from forecast.verification.climate.setting import Array, Block, Setting

_CHANNEL = "z500"
_GRAVITY = 9.80665
_NORTHERN = -10.0  # largest gradient on the poleward side, m per degree
_COARSEST = 6.0  # degrees between rows
_LATITUDES = (30.0, 75.0)
_REACH = 15.0
_SHIFTS = (-4.0, 0.0, 4.0)


class Blocking(Diagnostic):
    """Frequency of blocked points and longitudes.

    A point of 30 to 75 degrees is blocked if the height rises towards the pole over the 15 degrees
    on its equatorward side, and falls by more than 10 m per degree over the 15 degrees on its
    poleward side (Davini et al. 2012). A longitude is blocked if this holds between 40, 60 and
    80° N, all shifted by −4, 0 or 4 degrees (Tibaldi and Molteni 1990). Both are instantaneous:
    no persistence is required.
    """

    statistics = (
        Statistic(
            "blocking_frequency",
            "Fraction of time with a reversed gradient of z500 (Davini et al. 2012)",
            ("latitude", "longitude"),
            units="1",
        ),
        Statistic(
            "blocked_longitudes",
            "Fraction of time with blocking in the northern hemisphere (Tibaldi and Molteni 1990)",
            ("longitude",),
            units="1",
        ),
    )
    distances = (
        Distance("blocking", "rms difference of the frequency of blocked points"),
        Distance("blocking_north", "rms difference of the frequency of blocked longitudes, north"),
    )

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._channel = setting.place[_CHANNEL]
        units = setting.channels[self._channel].units
        self._gravity = _GRAVITY if units == "m2 s-2" else 1.0
        # Latitudes have rounding errors of 1e-14.
        latitude = np.abs(setting.latitude)
        self._inside = (latitude > _LATITUDES[0] - 1e-6) & (latitude < _LATITUDES[1] + 1e-6)
        self._points = GroupMeans(n_groups, setting.grid.shape)
        self._longitudes = GroupMeans(n_groups, (setting.grid.nlon,))

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        if not setting.complete(_CHANNEL):
            return f"there is no complete {_CHANNEL}"
        if 180 / setting.grid.nlat > _COARSEST:
            return f"rows are more than {_COARSEST:g} degrees apart"
        if setting.days is None or setting.days > 1:
            return f"states are {setting.interval} apart, and blocking is that of a day"
        return ""

    @property
    def quantities(self) -> tuple[tuple[str, str], ...]:
        """Return the channel that blocking depends on."""
        return ((_CHANNEL, "1"),)

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        height = block.filled[:, self._channel] / self._gravity  # (k, h, w)
        latitude = self.setting.latitude
        # Towards the pole of each hemisphere.
        sign = np.where(latitude >= 0, 1.0, -1.0)
        points = _blocked(height, latitude, latitude - sign * _REACH, latitude + sign * _REACH)
        points[:, ~self._inside] = False
        self._points.add(block.group, points.sum(0), len(block))
        shifted = 60 + np.array(_SHIFTS)
        longitudes = _blocked(height, latitude, shifted - 20, shifted + 20, shifted).any(1)
        self._longitudes.add(block.group, longitudes.sum(0), len(block))

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        inside = self._inside[:, None]
        return {
            "blocking_frequency": np.where(inside, self._points.mean(groups), np.nan),
            "blocked_longitudes": self._longitudes.mean(groups),
        }

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        points = a["blocking_frequency"] - b["blocking_frequency"]
        longitudes = a["blocked_longitudes"] - b["blocked_longitudes"]
        return {
            "blocking": self.area_rms(points)[None],
            "blocking_north": np.sqrt((longitudes**2).mean(keepdims=True)),
        }


def _blocked(
    height: Array,
    rows: Array,
    equatorward: Array,
    poleward: Array,
    centre: Array | None = None,
) -> np.ndarray:
    """Return where the gradient is reversed, bool (k, n, nlon).

    Args:
        height: Height (k, nlat, nlon), m.
        rows: Latitudes of the rows, degrees.
        equatorward: Latitudes of the n points towards the equator, degrees.
        poleward: Latitudes of the n points towards the pole, degrees.
        centre: Latitudes of the n points between; the rows if None.
    """
    middle = height if centre is None else _at_latitudes(height, rows, centre)
    centre = rows if centre is None else centre
    low, high = (_at_latitudes(height, rows, x) for x in (equatorward, poleward))
    south = (middle - low) / np.abs(centre - equatorward)[:, None]
    north = (high - middle) / np.abs(poleward - centre)[:, None]
    return (south > 0) & (north < _NORTHERN)


def _at_latitudes(height: Array, rows: Array, latitude: Array) -> Array:
    """Interpolate fields (k, nlat, nlon) linearly to latitudes (n,); beyond the rows the last."""
    place = np.clip(latitude, rows[-1], rows[0])
    after = np.searchsorted(-rows, -place).clip(1, len(rows) - 1)
    weight = (rows[after - 1] - place) / (rows[after - 1] - rows[after])
    lower, upper = height[:, after], height[:, after - 1]
    return np.asarray(upper + (lower - upper) * weight[:, None])
