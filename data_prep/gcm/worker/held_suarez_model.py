"""The dry circulation of Held and Suarez on the spectral core dinosaur.

Temperature relaxes to a profile that is the same all year and in both hemispheres, friction acts on
the lowest levels, and there are neither water nor mountains (Held and Suarez 1994, Bull. Am.
Meteorol. Soc. 75, 1825-1830). Scales near the truncation are damped by ∇⁸, as there.
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from dinosaur import held_suarez, scales, time_integration
from dinosaur.coordinate_systems import CoordinateSystem
from dinosaur.primitive_equations import PrimitiveEquationsSigma, get_geopotential_on_sigma
from dinosaur.primitive_equations_states import isothermal_rest_atmosphere
from dinosaur.sigma_coordinates import SigmaCoordinates
from dinosaur.spherical_harmonic import vor_div_to_uv_nodal
from dinosaur.units import SimUnits
from dinosaur.xarray_utils import OROGRAPHY, REF_TEMP_KEY
from jcm.physics.speedy.speedy_coords import get_speedy_coords
from numpy.typing import NDArray

from data_prep.gcm.worker.interface import Array
from data_prep.gcm.worker.segments import Segment
from data_prep.gcm.worker.settings import RunSettings
from data_prep.gcm.worker.temperature_noise import temperature_noise

_DAY_SECONDS = 86400
_PRESSURE_BUMP = 500.0
"""Size of the pressure wave in the state of rest, Pa, without which it stays zonally symmetric."""
_DAMPING_DAYS = 0.1
"""Time in which the largest degree decreases by a factor of e."""


class HeldSuarezModel:
    """Primitive equations with the forcing of Held and Suarez on evenly spaced sigma levels."""

    units = {
        "u": "m s-1", "v": "m s-1", "t": "K", "q": "kg kg-1", "z": "m2 s-2", "sp": "Pa",
    }  # fmt: skip
    static: dict[str, Array] = {}

    def __init__(self, settings: RunSettings) -> None:
        """Build the model and compile nothing yet."""
        self.settings = settings
        self._units = SimUnits.from_si()
        of_jcm = get_speedy_coords(spectral_truncation=settings.truncation).horizontal
        horizontal = dataclasses.replace(of_jcm, radius=self._units.radius)
        vertical = SigmaCoordinates.equidistant(settings.levels)
        self._coords = CoordinateSystem(horizontal=horizontal, vertical=vertical)
        self._at_rest, features = isothermal_rest_atmosphere(
            self._coords,
            self._units,
            p1=_PRESSURE_BUMP * scales.units.pascal,
        )
        self._reference = np.asarray(features[REF_TEMP_KEY])
        self._surface = np.asarray(features[OROGRAPHY])
        dynamics = PrimitiveEquationsSigma(
            self._reference, horizontal.to_modal(self._surface), self._coords, self._units
        )
        forcing = held_suarez.HeldSuarezForcingSigma(self._coords, self._units, self._reference)
        dt = self._units.nondimensionalize(settings.solver_seconds * scales.units.second)
        damping = self._units.nondimensionalize(_DAMPING_DAYS * scales.units.day)
        self._step = time_integration.step_with_filters(
            time_integration.imex_rk_sil3(
                time_integration.compose_equations([dynamics, forcing]), dt
            ),
            [time_integration.horizontal_diffusion_step_filter(horizontal, dt, damping, order=4)],
        )
        self.sigma: Array = np.asarray(vertical.centers, dtype=np.float64)
        self.latitude: Array = np.rad2deg(np.asarray(horizontal.latitudes, dtype=np.float64))
        self.longitude: Array = np.rad2deg(np.asarray(horizontal.longitudes, dtype=np.float64))
        self.source = (
            f"Held-Suarez on dinosaur {version('dinosaur')}, "
            f"T{settings.truncation}L{settings.levels}"
        )
        self._tree = jax.tree.structure(self._rest())
        self._day = jax.jit(self._advance)

    def start(self, day: np.datetime64) -> Any:
        """Return the state of rest one step before midnight of a day; see the interface."""
        state, s = self._rest(), self.settings
        if not s.member:
            return state
        noise = temperature_noise(
            self._coords.horizontal, state.temperature_variation, s.perturbation, (s.seed, s.member)
        )
        return dataclasses.replace(state, temperature_variation=state.temperature_variation + noise)

    def begin(self, segment: Segment) -> None:
        """Nothing is given from outside."""

    def advance_day(self, state: Any) -> tuple[Any, dict[str, Array]]:
        """Advance a state by a day; see the interface."""
        state, frames = self._day(state)
        return state, {name: np.asarray(x, dtype=np.float64) for name, x in frames.items()}

    def arrays(self, state: Any) -> list[NDArray[Any]]:
        """Return the arrays of a state."""
        return [np.asarray(x) for x in jax.tree.leaves(state)]

    def state(self, arrays: list[NDArray[Any]]) -> Any:
        """Return the state of its arrays."""
        return jax.tree.unflatten(self._tree, [jnp.asarray(x) for x in arrays])

    def _rest(self) -> Any:
        return self._at_rest(jax.random.PRNGKey(self.settings.seed))

    def _advance(self, state: Any) -> Any:
        """Advance a state by a day, compiled."""
        s = self.settings
        steps = time_integration.repeated(self._step, s.step_seconds // s.solver_seconds)

        def one(state: Any, _: None) -> Any:
            state = steps(state)
            return state, self._frame(state)

        return jax.lax.scan(one, state, None, length=_DAY_SECONDS // s.step_seconds)

    def _frame(self, state: Any) -> dict[str, Any]:
        """Return the fields of a state, (..., nlat, nlon) in SI units."""
        horizontal, units = self._coords.horizontal, scales.units
        u, v = vor_div_to_uv_nodal(horizontal, state.vorticity, state.divergence)
        t = self._reference[:, None, None] + horizontal.to_nodal(state.temperature_variation)
        z = get_geopotential_on_sigma(
            t,
            nodal_orography=self._surface,
            sigma=self._coords.vertical,
            gravity_acceleration=self._units.gravity_acceleration,
            ideal_gas_constant=self._units.ideal_gas_constant,
        )
        pressure = jnp.exp(horizontal.to_nodal(state.log_surface_pressure))[0]
        speed = float(self._units.dimensionalize(1.0, units.meter / units.second).magnitude)
        pascal = float(self._units.dimensionalize(1.0, units.pascal).magnitude)
        kelvin = float(self._units.dimensionalize(1.0, units.degK).magnitude)
        fields = {
            "u": u * speed, "v": v * speed, "t": t * kelvin, "q": jnp.zeros_like(t),
            "z": z * speed**2, "sp": pressure * pascal,
        }  # fmt: skip
        return {name: jnp.swapaxes(x, -1, -2) for name, x in fields.items()}
