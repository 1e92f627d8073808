"""Cases of the solver: standard tests, random states and a forced climate.

A case has constants, which its trajectories share, and parameters of the initial state. A parameter
p may vary between trajectories: `p_spread: s` draws it from the interval [p − s, p + s].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.shallow_water import initial_states, physics
from data_prep.shallow_water.equations import ShallowWater
from data_prep.shallow_water.orography import read_surface
from data_prep.shallow_water.planet import Physics
from sphere_ops.grid import EARTH_RADIUS

_SPREAD = "_spread"

Values = Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """Case of the solver: its physics and its initial states.

    Attributes:
        summary: Description of one line.
        constants: Defaults of the constants, by name.
        parameters: Defaults of the parameters of the initial state, by name.
        physics: Function that makes the physics from the constants, the truncation, and the
            coefficients of the height of a given surface or None.
        state: Function that makes the coefficients of an initial state from the solver, all values
            and a random generator.
        random: True if the initial state is random without any spread.
        surface: True if the case accepts a given surface.
    """

    summary: str
    constants: dict[str, float]
    parameters: dict[str, float]
    physics: Callable[[Values, int, Tensor | None], Physics]
    state: Callable[[ShallowWater, Values, np.random.Generator], Tensor]
    random: bool = False
    surface: bool = False


_RANDOM = {"mach": 0.2, "height_amplitude": 120.0, "cutoff": 120.0}
_STANDARD_WIND = 2 * np.pi * EARTH_RADIUS / (12 * 86400)  # one revolution in 12 days, m s-1
_MOUNTAIN = {
    "mountain_height": 2000.0, "mountain_radius": 20.0,
    "mountain_latitude": 30.0, "mountain_longitude": 270.0,
}  # fmt: skip

CASES: dict[str, Case] = {
    "random": Case(
        "Gaussian vorticity, divergence and height",
        physics.layer_defaults(mean_height=1e4, hyperdiffusion_hours=2.0),
        _RANDOM,
        physics.make_physics,
        initial_states.random,
        random=True,
        surface=True,
    ),
    "random_balanced": Case(
        "Gaussian vorticity, and the height in nonlinear balance with it",
        physics.layer_defaults(mean_height=1e4, hyperdiffusion_hours=2.0),
        {"mach": 0.2, "cutoff": 120.0},
        physics.make_physics,
        initial_states.random_balanced,
        random=True,
        surface=True,
    ),
    "williamson1": Case(
        "Williamson 1: a cosine bell of height, advected by a given wind",
        physics.planet_defaults(alpha=0.0),
        {"wind": _STANDARD_WIND, "bell_height": 1000.0, "bell_radius": np.rad2deg(1 / 3),
         "bell_latitude": 0.0, "bell_longitude": 270.0},
        physics.advection,
        initial_states.cosine_bell,
    ),
    "williamson2": Case(
        "Williamson 2: steady zonal flow about a tilted axis",
        physics.planet_defaults(alpha=0.0, mean_height=2.94e4 / 9.80616),
        {"wind": _STANDARD_WIND},
        physics.tilted,
        initial_states.solid_rotation,
    ),
    "williamson5": Case(
        "Williamson 5: zonal flow over a mountain",
        physics.layer_defaults(mean_height=5960.0, hyperdiffusion_hours=0.0) | _MOUNTAIN,
        {"wind": 20.0},
        physics.mountain,
        initial_states.solid_rotation,
    ),
    "williamson6": Case(
        "Williamson 6: Rossby-Haurwitz wave",
        physics.layer_defaults(mean_height=8000.0, hyperdiffusion_hours=0.0),
        {"zonal_rate": 7.848e-6, "wave_rate": 7.848e-6, "wavenumber": 4.0},
        physics.make_physics,
        initial_states.rossby_haurwitz,
    ),
    "galewsky": Case(
        "Galewsky: a barotropically unstable jet with a bump of height",
        physics.layer_defaults(mean_height=1e4, hyperdiffusion_hours=0.0),
        {"wind": 80.0, "jet_latitude": 45.0, "bump_height": 120.0,
         "bump_latitude": 45.0, "bump_longitude": 0.0,
         "bump_width_longitude": np.rad2deg(1 / 3), "bump_width_latitude": np.rad2deg(1 / 15)},
        physics.make_physics,
        initial_states.jet,
        surface=True,
    ),
    "forced": Case(
        "A turbulent climate over mountains: jets that follow the seasons, daily sunlight, drag",
        physics.layer_defaults(mean_height=8000.0, hyperdiffusion_hours=4.0)
        | {"mountain_scale": 0.7, "jet_speed": 65.0, "jet_latitude": 42.0, "jet_width": 7.0,
           "season": 0.4, "relaxation_days": 5.0, "drag_days": 30.0, "daily_heating": 50.0},
        {"noise": 1e-6},
        physics.forced,
        initial_states.perturbed_climate,
        random=True,
        surface=True,
    ),
}  # fmt: skip


class Experiment:
    """Case with its values and its solver.

    Args:
        name: Name of the case.
        values: Constants, parameters and spreads that differ from the defaults.
        lmax: Truncation, exclusive.
        dtype: Real type of the solver.
        device: Device of the solver.
        orography: Path of a file with the height of the surface.

    Raises:
        ValueError: if a name is unknown, a value is not allowed, or the surface cannot be used.
    """

    def __init__(
        self,
        name: str,
        values: Values,
        lmax: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        orography: str | None = None,
    ) -> None:
        self.name, self.case = name, _case(name)
        given = _checked(name, self.case, values)
        defaults = self.case.constants | self.case.parameters
        self.values = {key: given.get(key, default) for key, default in defaults.items()}
        self.spreads = {
            key: given[key + _SPREAD] for key in self.case.parameters if given.get(key + _SPREAD)
        }
        surface = None
        if orography is not None:
            if not self.case.surface:
                with_one = ", ".join(key for key, case in CASES.items() if case.surface)
                raise ValueError(
                    f"case {name} has a surface of its own and takes no orography; these do: "
                    f"{with_one}"
                )
            surface = read_surface(Path(orography), lmax)
        own = self.case.physics(self.values, lmax, surface)
        self.solver = ShallowWater(lmax, own, dtype, device)

    @property
    def varies(self) -> bool:
        """True if the initial state depends on the seed."""
        return self.case.random or bool(self.spreads)

    def initial_state(self, seed: int) -> Tensor:
        """Return the coefficients of the initial state of a seed, (3, lmax, lmax)."""
        generator = np.random.default_rng(seed)
        drawn = {
            key: self.values[key] + spread * generator.uniform(-1, 1)
            for key, spread in self.spreads.items()
        }
        state = self.case.state(self.solver, self.values | drawn, generator)
        return state.to(device=self.solver.device, dtype=self.solver.complex_dtype)


def _case(name: str) -> Case:
    if name not in CASES:
        near = get_close_matches(name, CASES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown case {name!r}{hint} There are: {', '.join(CASES)}")
    return CASES[name]


def _checked(name: str, case: Case, values: Values) -> dict[str, float]:
    known = [*case.constants, *case.parameters]
    spreads = [key + _SPREAD for key in case.parameters]
    for key, value in values.items():
        if key not in known and key not in spreads:
            near = get_close_matches(key, known + spreads, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"case {name} has no parameter {key!r}{hint} It has: {', '.join(known)}, and "
                f"NAME{_SPREAD} for {', '.join(case.parameters)}"
            )
        if not np.isfinite(value):
            raise ValueError(f"parameter {key} of case {name} is {value}; expected a finite number")
    return dict(values)
