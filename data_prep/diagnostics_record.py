"""Diagnostics of all trajectories, in a group of their own inside the store."""

from __future__ import annotations

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.arrays import array, put
from data_prep.diagnostics import INTEGRALS

GROUP = "diagnostics"
_SPECTRUM = "kinetic_energy"
_DEGREE = "degree"


class DiagnosticsRecord:
    """Writes the diagnostics of one trajectory after the other; read with xarray by group name.

    Args:
        store: the store that is being written.
        n_trajectories: in it.
        n_times: of each.
        lmax: degrees of the spectrum.
    """

    def __init__(self, store: zarr.Group, n_trajectories: int, n_times: int, lmax: int) -> None:
        if GROUP not in store:
            _create(store, n_trajectories, n_times, lmax)
        group = store[GROUP]
        assert isinstance(group, zarr.Group)
        self._group = group

    def write(
        self,
        index: int,
        start: int,
        integrals: NDArray[np.float64],
        spectrum: NDArray[np.float64],
    ) -> None:
        """Write some times of a trajectory.

        Args:
            index: of the trajectory.
            start: first of the times.
            integrals: (time, 4).
            spectrum: (time, lmax).
        """
        times = slice(start, start + len(integrals))
        for i, name in enumerate(INTEGRALS):
            array(self._group, name)[index, times] = integrals[:, i]
        array(self._group, _SPECTRUM)[index, times] = spectrum

    def read(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Integrals (trajectory, time, 4) and spectra (trajectory, time, lmax) of all."""
        integrals = [np.asarray(array(self._group, name)[...]) for name in INTEGRALS]
        return np.stack(integrals, axis=-1), np.asarray(array(self._group, _SPECTRUM)[...])


def _create(store: zarr.Group, n_trajectories: int, n_times: int, lmax: int) -> None:
    group = store.create_group(GROUP)
    dims = (layout.TRAJECTORY, layout.TIME)
    time = array(store, layout.TIME)
    put(group, layout.TIME, (layout.TIME,), np.asarray(time[...]), **dict(time.attrs))
    put(group, _DEGREE, (_DEGREE,), np.arange(lmax), long_name="Degree of the harmonics")
    for name, (long_name, units) in INTEGRALS.items():
        group.create_array(
            name, shape=(n_trajectories, n_times), chunks=(1, n_times), dtype="float64",
            fill_value=float("nan"), dimension_names=dims,
            attributes={"long_name": long_name, "units": units},
        )  # fmt: skip
    group.create_array(
        _SPECTRUM, shape=(n_trajectories, n_times, lmax), chunks=(1, n_times, lmax),
        dtype="float64", fill_value=float("nan"), dimension_names=(*dims, _DEGREE),
        attributes={"long_name": "Kinetic energy of each degree", "units": "m2 s-2"},
    )  # fmt: skip
