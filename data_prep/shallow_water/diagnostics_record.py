"""Record of the diagnostics of all trajectories, which becomes a group of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from configs import layout
from data_prep.shallow_water.diagnostics import INTEGRALS
from data_prep.store.arrays import array, put
from data_prep.store.outputs import written_beside

GROUP = "diagnostics"
_SPECTRUM = "kinetic_energy"
_DEGREE = "degree"


class DiagnosticsRecord:
    """Diagnostics of trajectories in small files, one for each shard of a batch.

    Args:
        folder: Folder of the files.
        n_trajectories: Number of trajectories of the store.
        n_times: Number of times of each trajectory.
        lmax: Number of degrees of the spectrum.
    """

    def __init__(self, folder: Path, n_trajectories: int, n_times: int, lmax: int) -> None:
        self._folder, self._shape = folder, (n_trajectories, n_times, len(INTEGRALS) + lmax)

    def write(
        self,
        indices: Sequence[int],
        start: int,
        integrals: NDArray[np.float64],
        spectrum: NDArray[np.float64],
    ) -> None:
        """Write the diagnostics of some times of some trajectories.

        Args:
            indices: Indices of the trajectories.
            start: Index of the first time.
            integrals: Integrals, (trajectory, time, 4).
            spectrum: Kinetic energy by degree, (trajectory, time, lmax).
        """
        path = self._folder / f"{indices[0]}-{start}.npz"
        values = np.concatenate((integrals, spectrum), axis=-1)
        with written_beside(path, replace=True) as scratch, scratch.open("wb") as file:
            np.savez(file, indices=np.asarray(indices), values=values)

    def read(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read integrals (trajectory, time, 4) and spectra (..., lmax); NaN if missing."""
        values = np.full(self._shape, np.nan)
        for path in self._folder.glob("*.npz"):
            start = int(path.stem.split("-")[1])
            with np.load(path) as part:
                stop = start + part["values"].shape[1]
                values[part["indices"], start:stop] = part["values"]
        return values[..., : len(INTEGRALS)], values[..., len(INTEGRALS) :]

    def put(self, store: zarr.Group) -> None:
        """Write all diagnostics to the group `diagnostics` of a store."""
        group = store.require_group(GROUP)
        dims = (layout.TRAJECTORY, layout.TIME)
        time = array(store, layout.TIME)
        put(group, layout.TIME, (layout.TIME,), time[...], **dict(time.attrs))
        integrals, spectrum = self.read()
        degree = np.arange(spectrum.shape[-1])
        put(group, _DEGREE, (_DEGREE,), degree, long_name="Degree of the harmonics")
        for i, (name, (long_name, units)) in enumerate(INTEGRALS.items()):
            put(group, name, dims, integrals[..., i], long_name=long_name, units=units)
        put(group, _SPECTRUM, (*dims, _DEGREE), spectrum,
            long_name="Kinetic energy of each degree", units="m2 s-2")  # fmt: skip
