"""Power by zonal wavenumber and frequency, after Wheeler and Kiladis (1999)."""

from __future__ import annotations

import numpy as np

from forecast.verification.climate.accumulators import GroupMeans, Groups
from forecast.verification.climate.diagnostic import (
    Coordinate,
    Diagnostic,
    Distance,
    Result,
    Statistic,
    log_ratio,
    rms,
)
from forecast.verification.climate.setting import Array, Block, Setting

BANDS = {
    "tropics, symmetric": (-15.0, 15.0, 1),
    "tropics, antisymmetric": (-15.0, 15.0, -1),
    "30 to 60 N": (30.0, 60.0, 0),
    "30 to 60 S": (-60.0, -30.0, 0),
}
"""Southern and northern edge of each band, and its symmetry about the equator (0 for none)."""
FEWEST_STATES, MOST_STATES = 16, 256
"""Limits of the length of a segment, which is a power of 2."""
_MOST_WAVES = 20
_FLOOR = 1e-8  # of the largest power: what is below is rounding errors of float32
_NAME = "wavenumber_frequency_power"


class WavenumberFrequency(Diagnostic):
    """Power by zonal wavenumber and frequency in bands of latitude.

    A run is cut into segments that overlap by half (Welch 1967). Each loses its linear trend and is
    tapered by a Hann window. Power is the mean over the rows of a band, weighted by area; its sum
    over wavenumbers and frequencies is the variance inside segments of the resolved waves.
    """

    statistics = (
        Statistic(
            _NAME,
            "Power by zonal wavenumber and frequency, positive eastward, units of the variable "
            "squared",
            ("channel", "band", "wavenumber", "frequency"),
            units="",
            logarithmic=True,
        ),
    )
    distances = (Distance(_NAME, "rms log-ratio of the power by wavenumber and frequency"),)

    def __init__(self, setting: Setting, n_groups: int) -> None:
        """Start with no states."""
        super().__init__(setting, n_groups)
        self._length = setting.segment
        self._n_waves = min(_MOST_WAVES, (setting.grid.nlon - 1) // 2) + 1
        self._rows = {name: _rows(setting, *band[:2]) for name, band in BANDS.items()}
        shape = (len(setting.channels), len(BANDS), self._n_waves, self._length)
        self._means = GroupMeans(n_groups, shape)
        self._window = np.sin(np.pi * (np.arange(self._length) + 0.5) / self._length) ** 2
        row = np.unique(np.concatenate(list(self._rows.values())))
        self._kept = row
        self._places = {name: np.searchsorted(row, r) for name, r in self._rows.items()}
        self._waves = np.empty((0, shape[0], len(row), self._n_waves), dtype=complex)
        self._group = -1

    @classmethod
    def obstacle(cls, setting: Setting) -> str:
        """Return the reason why the diagnostic is left out."""
        if not setting.segment:
            return f"forecast or truth have less than {FEWEST_STATES} consecutive states in a group"
        return ""

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Return the coordinates of the spectra; frequencies are per day, or per year of months."""
        step = self.setting.interval
        spacing, unit = (self.setting.days, "day-1")
        if step.months is not None:
            spacing, unit = step.months / 12, "year-1"
        assert spacing is not None
        frequency = np.fft.fftshift(np.fft.fftfreq(self._length, spacing))
        meaning = {"long_name": "Frequency, positive for eastward waves", "units": unit}
        waves = {"long_name": "Zonal wavenumber", "units": "1"}
        names = np.array(list(BANDS), dtype=object)
        return {
            "frequency": (("frequency",), frequency, meaning),
            "wavenumber": (("wavenumber",), np.arange(self._n_waves), waves),
            "band": (("band",), names, {"long_name": "Band of latitudes"}),
        }

    def update(self, block: Block) -> None:
        """Take the states of a block."""
        if block.first or block.group != self._group:
            self._waves, self._group = self._waves[:0], block.group
        rows = block.departure[:, :, self._kept]
        waves = np.fft.rfft(rows, axis=-1)[..., : self._n_waves] / self.setting.grid.nlon
        self._waves = np.concatenate([self._waves, waves])
        while len(self._waves) >= self._length:
            self._means.add(block.group, self._power(self._waves[: self._length]), 1)
            self._waves = self._waves[self._length // 2 :].copy()

    def _power(self, waves: np.ndarray) -> Array:
        """Return the power (c, band, wave, frequency) of one segment (n, c, row, wave)."""
        waves = _detrended(waves) * self._window[:, None, None, None]
        found = np.zeros(self._means.total.shape[1:])
        # Real fields: each wavenumber but 0 also has its conjugate. Mean square of the window.
        twice = np.where(np.arange(self._n_waves) > 0, 2.0, 1.0)
        scale = twice / self._length**2 / (self._window**2).mean()
        for b, (name, (*_, symmetry)) in enumerate(BANDS.items()):
            rows = self._places[name]
            if not len(rows):
                found[:, b] = np.nan
                continue
            of_band = waves[:, :, rows]
            if symmetry:
                of_band = (of_band + symmetry * of_band[:, :, ::-1]) / 2
            # A wave exp(i(mλ − ωt)) that moves eastward has the frequency −ω.
            spectrum = np.fft.fft(of_band, axis=0)[-np.arange(self._length)]
            power = np.abs(np.fft.fftshift(spectrum, axes=0)) ** 2  # (f, c, row, m)
            area = self.setting.area[self._rows[name], 0]
            found[:, b] = np.einsum("fcrm,r,m->cmf", power, area / area.sum(), scale)
        return found

    def result(self, groups: Groups) -> Result:
        """Return the statistics over some groups."""
        known = self.setting.known[:, None, None, None]
        return {_NAME: np.where(known, self._means.mean(groups), np.nan)}

    def distance(self, a: Result, b: Result) -> Result:
        """Return the distances of two results."""
        return {_NAME: rms(log_ratio(a[_NAME], b[_NAME], _FLOOR))}


def _rows(setting: Setting, south: float, north: float) -> np.ndarray:
    """Return the indices of the rows of a band."""
    latitude = setting.latitude  # with rounding errors of 1e-14
    return np.flatnonzero((latitude > south - 1e-6) & (latitude < north + 1e-6))


def _detrended(x: np.ndarray) -> np.ndarray:
    """Return a series (n, ...) without its mean and linear trend in time."""
    t = np.arange(len(x)) - (len(x) - 1) / 2
    slope = np.tensordot(t, x, axes=1) / (t @ t)
    return np.asarray(x - x.mean(0) - t[:, None, None, None] * slope)
