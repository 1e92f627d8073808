"""The circulation model jcm: SPEEDY's physics on the spectral core dinosaur.

Its interface is young: the names that are used here are those of version 3.0.
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from dinosaur.primitive_equations import truncated_modal_orography
from jcm.forcing import BY_DATE, ForcingData, make_time_series
from jcm.model import Model
from jcm.physics.speedy.speedy_coords import get_speedy_coords
from jcm.terrain import TerrainData
from numpy.typing import NDArray

from data_prep.gcm.worker.interface import Array
from data_prep.gcm.worker.sea_surface import SeaSurfaceModes
from data_prep.gcm.worker.segments import Segment, segments
from data_prep.gcm.worker.settings import RunSettings
from data_prep.gcm.worker.temperature_noise import temperature_noise

_DAY_SECONDS = 86400
_SST_DAYS = 33  # of the table of a segment: those of a month, and a day on either side
_FREEZING = 273.2 - 1.8
_SEA = 0.5  # largest fraction of land of a point whose sea surface temperature is written
_OPEN = 0.1  # largest sea ice, at any time of the year, of a point that anomalies are taken from
_LATITUDE_LIMIT = 60.0


class JcmModel:
    """jcm with the observed climatology of its boundary conditions, and varying sea surface."""

    units = {
        "u": "m s-1", "v": "m s-1", "t": "K", "q": "kg kg-1", "z": "m2 s-2", "sp": "Pa",
        "t2m": "K", "u10": "m s-1", "v10": "m s-1", "skt": "K", "sst": "K",
        "total_precipitation": "m", "rlut": "W m-2", "orography": "m", "land_fraction": "1",
    }  # fmt: skip

    def __init__(self, settings: RunSettings) -> None:
        """Build the model and compile nothing yet."""
        self.settings = settings
        self._coords = get_speedy_coords(
            layers=settings.levels, spectral_truncation=settings.truncation
        )
        base = resources.files("jcm.data.bc.t30")
        terrain = TerrainData.from_file(str(base / "clim" / "terrain.nc"), coords=self._coords)
        start = segments(settings)[0].first
        self._origin = start.astype("datetime64[s]") - np.timedelta64(settings.step_seconds, "s")
        self._model = Model(
            coords=self._coords,
            time_step=settings.solver_seconds / 60,
            start_time=str(self._origin),
            terrain=terrain,
        )
        self._forcing = ForcingData.from_file(
            str(base / "clim" / "forcing.nc"), coords=self._coords, align_mode="wrap_year"
        )
        horizontal = self._coords.horizontal
        self.sigma: Array = np.asarray(self._coords.vertical.centers, dtype=np.float64)
        self.latitude: Array = np.rad2deg(np.asarray(horizontal.latitudes, dtype=np.float64))
        self.longitude: Array = np.rad2deg(np.asarray(horizontal.longitudes, dtype=np.float64))
        self.source = (
            f"jcm {version('jcm')} (SPEEDY) on dinosaur {version('dinosaur')}, "
            f"T{settings.truncation}L{settings.levels}"
        )
        # As the dynamics of jcm take it: without the last two wavenumbers.
        modal = truncated_modal_orography(terrain.orog, self._coords, wavenumbers_to_clip=2)
        surface = horizontal.to_nodal(modal)
        land = np.asarray(terrain.fmask)
        self.static: dict[str, Array] = {
            "orography": np.asarray(surface).T,
            "land_fraction": land.T,
        }
        self._land = land
        self._sst_climatology = np.asarray(self._forcing.sea_surface_temperature.values)
        self._ice_climatology = np.asarray(self._forcing.sice_am.values)
        self._first_day = start - np.timedelta64(1, "D")
        self._anomaly = self._anomalies(str(base / "anom" / "sea_surface_temperature_anomaly.nc"))
        self._model.bootstrap_state()
        self._tree = jax.tree.structure(self._model.run_state)
        self._day = jax.jit(self._advance)

    def start(self, day: np.datetime64) -> Any:
        """Return the state of rest one step before midnight of a day; see the interface."""
        state = self._model.run_state
        if not self.settings.member:
            return state
        return self.perturbed(state, self.settings.perturbation, self.settings.member)

    def perturbed(self, state: Any, size: float, number: int) -> Any:
        """Return a state with random temperatures of degree 1 to 10 added.

        Args:
            state: State.
            size: Root mean square of the perturbation, K.
            number: Number of the perturbation.
        """
        temperature = state.dynamics.temperature_variation
        noise = temperature_noise(
            self._coords.horizontal, temperature, size, (self.settings.seed, number)
        )
        dynamics = dataclasses.replace(state.dynamics, temperature_variation=temperature + noise)
        return dataclasses.replace(state, dynamics=dynamics)

    def truncated(self, arrays: list[NDArray[Any]]) -> Any:
        """Return the state with the degrees of a finer model, and the physics of a start.

        Args:
            arrays: Arrays of a state of the same levels with at least as many degrees.
        """
        own = self.arrays(self._model.run_state)
        spectral = {
            x.shape[-2:] for x in own if x.ndim == 3 and x.shape[-1] == x.shape[-2] // 2 + 2
        }
        found = []
        for ours, finer in zip(own, arrays, strict=True):
            if ours.shape[-2:] in spectral and ours.ndim == 3:
                m, degree = ours.shape[-2:]
                mask = np.asarray(self._coords.horizontal.mask)
                found.append(np.where(mask, finer[:, :m, :degree], 0).astype(ours.dtype))
            else:
                found.append(finer if ours.shape == finer.shape else ours)
        return self.state(found)

    def begin(self, segment: Segment) -> None:
        """Take the sea surface temperature of the days of a segment."""
        days = segment.first - np.timedelta64(1, "D") + np.arange(_SST_DAYS)
        table = np.stack([self._sst_on(day) for day in days])
        times = make_time_series(table, days.astype("datetime64[s]"), BY_DATE, persist="hold")
        self._segment = self._forcing.copy(sea_surface_temperature=times)
        self._table, self._table_start = table, days[0]
        self._today = segment.first

    def advance_day(self, state: Any) -> tuple[Any, dict[str, Array]]:
        """Advance a state by a day; see the interface."""
        state, frames = self._day(state, self._segment)
        found: dict[str, Array] = {
            name: np.asarray(x, dtype=np.float64) for name, x in frames.items()
        }
        n = _DAY_SECONDS // self.settings.step_seconds
        row = int((self._today - self._table_start) / np.timedelta64(1, "D"))
        sst = np.where(self._land < _SEA, self._effective(row), np.nan).T
        found["sst"] = np.broadcast_to(sst, (n, *sst.shape))
        self._today = self._today + np.timedelta64(1, "D")
        return state, found

    def arrays(self, state: Any) -> list[NDArray[Any]]:
        """Return the arrays of a state."""
        return [np.asarray(x) for x in jax.tree.leaves(state)]

    def state(self, arrays: list[NDArray[Any]]) -> Any:
        """Return the state of its arrays."""
        return jax.tree.unflatten(self._tree, [jnp.asarray(x) for x in arrays])

    def _advance(self, state: Any, forcing: Any) -> Any:
        """Advance a state by a day, compiled."""
        step, dt = self.settings.step_seconds, self.settings.solver_seconds

        def one(state: Any, _: None) -> Any:
            state, predicted = self._model.run_from_state_with_carry(
                state.dynamics,
                forcing,
                save_interval=dt / _DAY_SECONDS,
                total_time=step / _DAY_SECONDS,
                initial_physics_state=state.physics,
                initial_time=state.time,
                initial_step=state.step,
            )
            return state, self._frame(predicted.dynamics, predicted.physics)

        return jax.lax.scan(one, state, None, length=_DAY_SECONDS // step)

    def _frame(self, dynamics: Any, physics: Any) -> dict[str, Any]:
        """Return the fields at the end of a step, of which all solver steps are given."""
        last = jax.tree.map(lambda x: x[-1], dynamics)
        surface = physics["_surface_flux"]
        rain = physics["surface_exchange"].precipitation.mean(0)  # kg m-2 s-1
        fields = {
            "u": last.u_wind, "v": last.v_wind, "t": last.temperature,
            "q": last.specific_humidity, "z": last.geopotential,
            "sp": last.normalized_surface_pressure * 1e5,
            "t2m": surface.t0[-1], "u10": surface.u0[-1], "v10": surface.v0[-1],
            "skt": surface.tskin[-1],
            "total_precipitation": rain * (self.settings.step_seconds / 1000),
            "rlut": physics["_longwave_rad"].ftop.mean(0),
        }  # fmt: skip
        return {name: jnp.swapaxes(x, -1, -2) for name, x in fields.items()}

    def _anomalies(self, path: str) -> Array:
        """Return the anomaly of the sea surface temperature on each day, K, (day, nlon, nlat)."""
        parts = segments(self.settings)
        n_days = sum(p.n_days for p in parts) + _SST_DAYS
        count = self.settings.sst_modes
        if not count:
            return np.zeros((n_days, 1, 1))
        with xr.open_dataset(path, decode_times=False) as file:
            observed = file["ssta"].sortby("lat").transpose("time", "lon", "lat").load()
        wide = observed.pad(lon=1, mode="wrap")
        step = 360 / observed.sizes["lon"]
        wide["lon"] = (np.arange(wide.sizes["lon"]) - 1) * step
        on_grid = wide.interp(
            lon=self.longitude, lat=self.latitude, kwargs={"fill_value": 0.0}
        ).values
        is_open = (self._land < _SEA) & (self._ice_climatology.max(0) < _OPEN)
        is_open &= abs(self.latitude) < _LATITUDE_LIMIT
        weights = np.where(is_open, np.cos(np.deg2rad(self.latitude)), 0.0)
        modes = SeaSurfaceModes.of(on_grid, weights, count)
        amplitudes = modes.amplitudes(n_days, self.settings.seed) * self.settings.sst_amplitude
        return np.einsum("dm,mxy->dxy", amplitudes, modes.patterns)

    def _sst_on(self, day: np.datetime64) -> Array:
        number = int((day - self._first_day) / np.timedelta64(1, "D"))
        return np.asarray(self._of_year(self._sst_climatology, day) + self._anomaly[number])

    @staticmethod
    def _of_year(table: Array, day: np.datetime64) -> Array:
        """Return the entry of a daily climatology; 29 February has that of the day before."""
        month = day.astype("datetime64[M]")
        of_month = int((day - month.astype("datetime64[D]")) / np.timedelta64(1, "D"))
        start = np.datetime64(f"2001-{str(month)[5:7]}-01", "D")
        if str(day)[5:] == "02-29":
            of_month -= 1
        index = int((start - np.datetime64("2001-01-01")) / np.timedelta64(1, "D")) + of_month
        if len(table) == 366 and index >= 59:
            index += 1
        return np.asarray(table[index])

    def _effective(self, row: int) -> Array:
        """Return the temperature of sea and ice that the fluxes are computed with, K."""
        sst = self._table[row]
        ice = self._of_year(self._ice_climatology, self._table_start + np.timedelta64(row, "D"))
        return np.asarray(sst + np.clip(ice, 0, 1) * (np.minimum(sst, _FREEZING) - sst))
