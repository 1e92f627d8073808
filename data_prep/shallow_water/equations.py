"""Shallow-water equations on a rotating sphere, spectral in space, many states at a time.

In vorticity ζ, divergence δ and layer geopotential φ = Φ̄ + φ', with wind V, surface geopotential
Φ_s, kinetic energy K = |V|²/2 and the linear operator L of `linear_waves` (gravity waves, rotation,
damping),

    ∂ζ/∂t = L_ζ − ∇·(ζV)
    ∂δ/∂t = L_δ + k·∇×(ζV) − ∇²(K + Φ_s)
    ∂φ/∂t = L_φ − ∇·(φ'V)

plus a forcing. L is propagated exactly, and the rest is integrated by the Runge-Kutta method of
`data_prep.solvers.time_stepping`. Steady states stay exactly steady.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data_prep.shallow_water.linear_waves import Damping, LinearWaves, Propagator, coupling
from data_prep.shallow_water.planet import Physics
from data_prep.solvers.time_stepping import round_steps, runge_kutta_step
from data_prep.solvers.truncation import quadratic_grid
from sphere_ops.harmonics.transforms import InverseRealSHT, RealSHT

VORTICITY, DIVERGENCE, GEOPOTENTIAL = range(3)

COURANT_LIMIT = 1.5  # at T42 a jet is stable at 1.5 and unstable at 1.8
# Limit of the contribution of the depth to the Courant number. Near it, the phase of the shortest
# gravity waves changes by π in a step, and a deviation of the depth makes them grow. Flow over a
# mountain is stable at 0.52 (T42). At 0.58 (T42, T63) it has noise of twice the wind after 15 days,
# with or without diffusion; at 0.93 (T170) it has values that are not finite.
DEPTH_LIMIT = 0.55
_COURANT_CHOSEN = 0.7  # for automatic steps; relative error of a step of balanced flow below 1e-5
_DEPTH_CHOSEN = 0.5
_WAVE_ANGLE_CHOSEN = 4.0  # largest phase change of a gravity wave in a step, radians


class ShallowWater:
    """Solver of the shallow-water equations: tendencies, steps and the choice of the step.

    A state holds the coefficients of ζ, δ and φ − Φ̄, complex, (..., 3, lmax, lmax).

    Args:
        lmax: Triangular truncation, exclusive.
        physics: Planet, layer, damping and forcing.
        dtype: Real type, float64 or float32.
        device: Device of the computation.
    """

    def __init__(
        self,
        lmax: int,
        physics: Physics,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.lmax, self.physics = lmax, physics
        self.grid = quadratic_grid(lmax)
        self.dtype, self.device = dtype, torch.device(device)
        self.complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        self._synthesis = InverseRealSHT(self.grid, lmax=lmax + 1, mmax=lmax).to(self.device)
        self._analysis = RealSHT(self.grid, lmax=lmax + 1, mmax=lmax).to(self.device)
        self._build_tables()
        self.waves = self._linear_waves()
        self._propagators: dict[float, Propagator] = {}

    def tendency(self, state: Tensor, time: float) -> Tensor:
        """Return the tendency without L at a time in s, (..., 3, lmax, lmax)."""
        out = self._transport(state, self._explicit_coriolis)
        if self._surface is not None:
            out[..., DIVERGENCE, :, :] += self._surface
        if self.physics.frozen_wind:
            out[..., :GEOPOTENTIAL, :, :] = 0
        if self.physics.forcing is not None:
            out = out + self.physics.forcing(time).to(device=self.device, dtype=self.complex_dtype)
        return out

    def step(self, state: Tensor, time: float, dt: float) -> Tensor:
        """Return the state after one step of dt (s) from a time (s)."""
        return runge_kutta_step(self.tendency, self._propagator(dt / 2), state, time, dt)

    def advance(self, state: Tensor, time: float, duration: float, n_steps: int) -> Tensor:
        """Return the state after n_steps equal steps over a duration (s) from a time (s)."""
        dt = duration / n_steps
        for i in range(n_steps):
            state = self.step(state, time + i * dt, dt)
        return state

    def courant_rates(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Courant number of a step of 1 s, and the contribution of the depth to it.

        Only terms that are not propagated exactly limit a step: the wind, the change of the speed
        of gravity waves where the depth is not Φ̄, and the Coriolis force about a tilted axis. The
        unit of length is the shortest resolved wavelength.

        Returns:
            Two tensors of shape (...,).
        """
        planet = self.physics.planet
        _, phi, east, north = self.flow(state).unbind(-3)
        per_speed = math.sqrt(self.lmax * (self.lmax - 1)) / planet.radius
        wind = (east**2 + north**2).amax(dim=(-2, -1)).sqrt() * per_speed
        if self.physics.frozen_wind:
            return wind, torch.zeros_like(wind)
        gain = phi.abs().amax(dim=(-2, -1)) / (2 * math.sqrt(self.physics.mean_geopotential))
        depth = gain * per_speed
        tilted = 2 * planet.rotation if planet.axis_tilt else 0.0
        return wind + depth + tilted, depth

    def steps_for(self, state: Tensor, duration: float) -> Tensor:
        """Return the number of steps in a duration (s) that resolves the flow, int64, (...,).

        The number depends on each state alone; see `round_steps`.
        """
        courant, depth = self.courant_rates(state)
        courant = torch.maximum(courant / _COURANT_CHOSEN, depth / _DEPTH_CHOSEN) * duration
        waves = math.sqrt(max(self.physics.mean_geopotential, 0.0) * self.lmax * (self.lmax - 1))
        angle = waves / self.physics.planet.radius * duration / _WAVE_ANGLE_CHOSEN
        if self.physics.frozen_wind:
            angle = 0.0
        needed = torch.where(courant.isfinite(), courant, 1.0).clamp(min=angle)
        return round_steps(needed)

    def longest_step(self, state: Tensor) -> float:
        """Return an estimate of the longest stable step (s) for all of these states."""
        courant, depth = (float(rate.amax()) for rate in self.courant_rates(state))
        return 1 / max(courant / COURANT_LIMIT, depth / DEPTH_LIMIT, 1e-30)

    def check_step(self, state: Tensor, dt: float) -> None:
        """Raise an error if a step (s) is unstable for these states.

        Raises:
            ValueError: if the step is too long; the message suggests a stable step.
        """
        longest = self.longest_step(state)
        if dt <= longest:
            return
        courant, depth = (float(rate.amax()) * dt for rate in self.courant_rates(state))
        works = 0.9 * longest
        works = math.floor(works) if works >= 2 else float(f"{works:.2g}")
        raise ValueError(
            f"a solver step of {dt:g} s has Courant number {courant:.2f} on this flow, {depth:.2f} "
            f"of it for its depth, where {COURANT_LIMIT:g} and {DEPTH_LIMIT:g} are stable; a "
            f"step of {works:g} s works, or leave solver_dt out to have a step chosen"
        )

    def on_grid(self, coeffs: Tensor) -> Tensor:
        """Return fields (..., nlat, nlon) on the grid of the solver from coefficients."""
        return self._synthesis(torch.nn.functional.pad(coeffs, (0, 0, 0, 1)))

    def coefficients(self, fields: Tensor) -> Tensor:
        """Return coefficients (..., lmax, lmax) of fields on the grid of the solver."""
        fields = fields.to(device=self.device, dtype=self.dtype)
        return self._analysis(fields)[..., : self.lmax, :].contiguous()

    def layer(self, state: Tensor) -> Tensor:
        """Return the geopotential φ of the layer on the grid, m² s⁻², (..., nlat, nlon)."""
        return self.on_grid(state[..., GEOPOTENTIAL, :, :]) + self.physics.mean_geopotential

    def wind(self, state: Tensor) -> Tensor:
        """Return eastward and northward wind on the grid, m s⁻¹, (..., 2, nlat, nlon)."""
        return self._synthesis(self._wind_times_cosine(state)) / self._cosine

    def flow(self, state: Tensor) -> Tensor:
        """Return ζ, φ − Φ̄, eastward and northward wind on the grid, (..., 4, nlat, nlon)."""
        fields = self._flow_times_cosine(state)
        fields[..., 2:, :, :] /= self._cosine
        return fields

    def balanced_geopotential(self, state: Tensor) -> Tensor:
        """Return coefficients of φ − Φ̄, with mean 0, in nonlinear balance with the wind.

        In balance ∂δ/∂t is 0 without damping and forcing.

        Args:
            state: Coefficients, (..., 3, lmax, lmax). The geopotential is not used.
        """
        state = state.clone()
        state[..., GEOPOTENTIAL, :, :] = 0
        coriolis = self.physics.planet.coriolis(self.grid).to(self._cosine)
        rate = self._transport(state, coriolis)[..., DIVERGENCE, :, :]
        if self._surface is not None:
            rate = rate + self._surface
        return -rate * torch.where(self._laplacian > 0, 1 / self._laplacian.clamp(min=1e-30), 0.0)

    def _transport(self, state: Tensor, planetary: Tensor) -> Tensor:
        """Return −∇·(qV), k·∇×(qV) − ∇²K and −∇·(φ'V) with q = ζ + planetary vorticity."""
        n = self.lmax
        zeta, phi, u, v = self._flow_times_cosine(state).unbind(-3)
        q = zeta + planetary
        east, north = u * self._per_cosine2, v * self._per_cosine2
        products = (q * east, q * north, phi * east, phi * north, (u * east + v * north) / 2)
        spectra = self._analysis(torch.stack(products, dim=-3))
        fluxes, kinetic = spectra[..., :4, :, :], spectra[..., 4, :n, :]
        along = self._zonal * fluxes[..., :n, :]
        below = torch.nn.functional.pad(fluxes[..., : n - 1, :], (0, 0, 1, 0))
        across = self._from_below * below + self._from_above * fluxes[..., 1:, :]
        out = torch.empty_like(state)
        out[..., VORTICITY, :, :] = across[..., 1, :, :] - along[..., 0, :, :]
        out[..., DIVERGENCE, :, :] = (
            along[..., 1, :, :] + across[..., 0, :, :] + self._laplacian * kinetic
        )
        out[..., GEOPOTENTIAL, :, :] = across[..., 3, :, :] - along[..., 2, :, :]
        return out

    def _flow_times_cosine(self, state: Tensor) -> Tensor:
        """Return ζ, φ − Φ̄, u cos φ and v cos φ on the grid, (..., 4, nlat, nlon)."""
        scalars = torch.nn.functional.pad(state[..., ::2, :, :], (0, 0, 0, 1))
        return self._synthesis(torch.cat((scalars, self._wind_times_cosine(state)), dim=-3))

    def _wind_times_cosine(self, state: Tensor) -> Tensor:
        """Return the coefficients of u cos φ and v cos φ, (..., 2, lmax + 1, lmax)."""
        flow = torch.nn.functional.pad(state[..., :2, :, :], (0, 0, 1, 2))  # l = −1 ... lmax + 1
        along = self._wind_zonal * flow[..., 1:-1, :]
        across = self._wind_above * flow[..., 2:, :] + self._wind_below * flow[..., :-2, :]
        u = along[..., 1, :, :] + across[..., 0, :, :]
        v = along[..., 0, :, :] - across[..., 1, :, :]
        return torch.stack((u, v), dim=-3)

    def _build_tables(self) -> None:
        n, planet = self.lmax, self.physics.planet
        like = torch.empty(0, device=self.device, dtype=self.dtype)
        a = planet.radius
        eps = coupling(n + 2, n)
        degree = torch.arange(n + 1, dtype=torch.float64)[:, None]
        order = torch.arange(n, dtype=torch.float64)
        eigenvalue = degree * (degree + 1)
        safe = degree.clamp(min=1)
        self._wind_zonal = (-1j * a * order / eigenvalue.clamp(min=1)).to(
            device=self.device, dtype=self.complex_dtype
        )
        self._wind_above = (a * eps[1:] / (degree + 1)).to(like)
        self._wind_below = (-a * eps[:-1] / safe).to(like)
        self._zonal = (1j * order / a).to(device=self.device, dtype=self.complex_dtype)
        self._from_below = ((degree + 1) * eps[:-1] / a)[:n].to(like)
        self._from_above = (-degree * eps[1:] / a)[:n].to(like)
        self._laplacian = (eigenvalue[:n] / a**2).to(like)
        self._cosine = torch.sin(self.grid.colatitude)[:, None].to(like)
        self._per_cosine2 = 1 / self._cosine.square()
        tilted = planet.axis_tilt != 0
        coriolis = planet.coriolis(self.grid) if tilted else torch.zeros(self.grid.shape)
        self._explicit_coriolis = coriolis.to(like)
        surface = self.physics.orography
        self._surface = (
            None
            if surface is None
            else self._laplacian * surface.to(device=self.device, dtype=self.complex_dtype)
        )

    def _linear_waves(self) -> LinearWaves:
        p, n = self.physics, self.lmax
        degree = torch.arange(n, dtype=torch.float64)
        viscous = p.viscosity * degree * (degree + 1) / p.planet.radius**2
        flow = viscous * (degree > 1) + p.drag
        if p.hyperdiffusion is not None:
            flow = flow + p.hyperdiffusion.rate(n)
        zonal = torch.zeros(n, n, dtype=torch.float64)
        zonal[1:, 0] = p.zonal_relaxation
        moving, layer = flow[:, None] + zonal, viscous[:, None] + zonal
        return LinearWaves(
            self.lmax,
            radius=p.planet.radius,
            rotation=0.0 if p.planet.axis_tilt or p.frozen_wind else p.planet.rotation,
            mean_geopotential=0.0 if p.frozen_wind else p.mean_geopotential,
            damping=Damping(moving, moving, layer),
            gravity=not p.frozen_wind,
        )

    def _propagator(self, duration: float) -> Propagator:
        if duration not in self._propagators:
            self._propagators[duration] = self.waves.propagator(
                duration, self.complex_dtype, self.device
            )
        return self._propagators[duration]
