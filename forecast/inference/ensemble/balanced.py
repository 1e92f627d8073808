"""Perturbation of shallow-water flow in linear balance, which hardly excites gravity waves.

With a random vorticity ζ = ∇²ψ and no divergence, the geopotential is the solution of the linear
balance equation (Charney 1955, Tellus 7, 22-26)

    ∇²φ = ∇·(f ∇ψ)

for which the tendency of the divergence, ∇·(f ∇ψ) − ∇²φ in the linear equations, is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from configs.length import parse_length
from forecast.inference.ensemble.constraints import Constraints
from forecast.inference.ensemble.earlier import EarlierStates
from forecast.inference.ensemble.options import (
    Option,
    Values,
    choice,
    length,
    positive_number,
    switch,
)
from forecast.inference.ensemble.perturbation import Perturbation, Setup
from forecast.inference.ensemble.sample import Sample
from forecast.model.state import State
from sphere_ops.grid import EARTH_ROTATION, Grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import (
    InverseRealSHT,
    InverseRealVectorSHT,
    RealVectorSHT,
    gradient,
    inverse_laplacian,
)
from sphere_ops.parallel.fields import own_rows

GEOPOTENTIAL, VORTICITY, WIND = "geopotential", "vorticity", ("eastward_wind", "northward_wind")


class BalancedFlow:
    """Winds and geopotential in linear balance with a vorticity.

    Args:
        grid: Grid of the fields.
        radius: Radius of the sphere, m.
        rotation: Angular velocity about the axis of the grid, s⁻¹.
        device: Device of the fields.
    """

    def __init__(
        self, grid: Grid, radius: float, rotation: float, device: torch.device | None = None
    ) -> None:
        self.radius, self.grid = radius, grid
        # f ∇ψ has one degree more than ψ, which the analysis has to hold.
        self.lmax = grid.exact_lmax - 1
        if self.lmax < 2:
            raise ValueError(f"the grid {grid} is too coarse for a balanced perturbation")
        self._gradient = InverseRealVectorSHT(grid, self.lmax, self.lmax).to(device)
        self._analysis = RealVectorSHT(grid, self.lmax + 1, self.lmax).to(device)
        self._synthesis = InverseRealSHT(grid, self.lmax + 1, self.lmax).to(device)
        sine = torch.sin(torch.deg2rad(grid.latitude))[own_rows(grid), None]
        self.coriolis = (2 * rotation * sine).float().to(device)

    def wind(self, vorticity: Tensor) -> Tensor:
        """Return the eastward and northward wind, m s⁻¹, (..., 2, nlat, nlon).

        Args:
            vorticity: Coefficients, (..., lmax, lmax), s⁻¹; in a mesh the orders of this rank.
        """
        psi = inverse_laplacian(vorticity, self.radius)
        east, north = gradient(self._gradient, psi, self.radius).unbind(-3)
        return torch.stack((-north, east), dim=-3)  # k × ∇ψ

    def geopotential(self, wind: Tensor) -> Tensor:
        """Return the geopotential without its mean, m² s⁻², (..., nlat, nlon).

        Args:
            wind: Result of `wind`.
        """
        east, north = (self.coriolis * wind).unbind(-3)
        # f ∇ψ = f (v, −u), of which φ is the potential; the components are southward and eastward.
        potentials = self._analysis(torch.stack((east, north), dim=-3))
        return self.radius * self._synthesis(potentials[..., 0, :, :])


class BalancedPerturbation(Perturbation):
    """Adds random vorticity, or its wind, and the geopotential in balance with it.

    The divergence is not perturbed. The amplitude is that of vorticity, or of the wind in a model
    of winds. All states that a model sees get the same difference.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        "amplitude": positive_number("0.1"),
        "length": length("1000km"),
        "scale": choice("step", "step", "std"),
        "rotation": positive_number(str(EARTH_ROTATION)),
        "pairs": switch("no"),
    }

    def __init__(self, values: Values, setup: Setup, number: int = 0) -> None:
        """See `Perturbation`."""
        place = {v.name: c for c, v in enumerate(setup.channels) if v.name in setup.fed_back}
        winds = [name for name in WIND if name in place]
        if GEOPOTENTIAL not in place or not (VORTICITY in place or len(winds) == 2):
            raise ValueError(
                f"a balanced perturbation of {', '.join(place)}; expected the channels "
                f"{GEOPOTENTIAL} and {VORTICITY}, or {GEOPOTENTIAL}, {' and '.join(WIND)}: take "
                "--perturb field"
            )
        self._place, self._number, self._pairs = place, number, values["pairs"]
        self._n_channels = len(setup.channels)
        self.flow = BalancedFlow(setup.grid, setup.radius, values["rotation"], setup.device)
        angle = parse_length(values["length"], setup.radius / 1000)
        self._field = GaussianField(setup.grid, angle, self.flow.lmax, first_degree=1)
        self._field.to(setup.device)
        of = setup.normalizer.std_step if values["scale"] == "step" else setup.normalizer.std
        if VORTICITY in place:
            size = float(of[place[VORTICITY]])
        else:
            size = float(of[[place[name] for name in WIND]].square().sum().sqrt())
            size /= setup.radius * self._wind_per_vorticity()
        self._size = values["amplitude"] * size
        self.constraints = Constraints(setup.channels, setup.grid).to(setup.device)

    def perturb(
        self, state: State, samples: Sequence[Sample], earlier: EarlierStates | None
    ) -> State:
        """See `Perturbation`."""
        difference = self.difference(samples)
        return self.constraints.add(state, [difference] * len(state.series))

    def difference(self, samples: Sequence[Sample]) -> Tensor:
        """Return the difference of each sample, (b, c, nlat, nlon)."""
        drawn = [sample.of_pair() if self._pairs else (sample, 1) for sample in samples]
        coeffs = self._field.coefficients([s.numbers(self._number, 0) for s, _ in drawn])
        signs = self._field.scale.new_tensor([float(sign) for _, sign in drawn])
        vorticity = coeffs * (self._size * signs)[:, None, None]
        wind = self.flow.wind(vorticity)
        fields = {GEOPOTENTIAL: self.flow.geopotential(wind)}
        fields |= dict(zip(WIND, wind.unbind(1), strict=True))
        if VORTICITY in self._place:
            fields[VORTICITY] = self._field.synthesise(vorticity)
        out = wind.new_zeros(len(samples), self._n_channels, *wind.shape[-2:])
        for name, field in fields.items():
            if name in self._place:
                out[:, self._place[name]] = field
        return out

    def _wind_per_vorticity(self) -> float:
        """Return the root mean square wind of vorticity of variance 1 on the unit sphere."""
        scale = self._field.scale.double()
        degree = torch.arange(len(scale), dtype=torch.float64, device=scale.device)
        energy = (2 * degree + 1) * scale**2 / (degree * (degree + 1)).clamp(min=1)
        return math.sqrt(float(energy.sum()) / (4 * math.pi))
