"""Sections of data that a solver makes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from configs.section import GridConfig, Section, TimeStepText, VariableName

_STEP = "interval between stored states"
_SPIN_UP = "time solved before the first stored state"


class SplitCounts(Section):
    """Number of trajectories of each split."""

    train: int = Field(ge=1)
    validation: int = Field(ge=0)
    test: int = Field(ge=0)


class CaseConfig(Section):
    """Case of the shallow-water solver, and its weight in a mixture of cases."""

    name: str = "random"
    weight: float = Field(default=1.0, gt=0)
    parameters: dict[str, float] = {}
    orography: str | None = Field(
        default=None,
        description="file with the height of the surface, m; negative heights count as 0",
    )


class ShallowWaterData(Section):
    """Training data from the shallow-water solver."""

    source: Literal["shallow_water"] = "shallow_water"
    grid: GridConfig = GridConfig(nlat=64, nlon=128)
    lmax: int = Field(
        default=43, ge=3, description="truncation of the solver, exclusive (T42 = 43)"
    )
    cases: tuple[CaseConfig, ...] = (CaseConfig(),)
    variables: tuple[VariableName, ...] = ("geopotential", "vorticity", "divergence")
    trajectories: SplitCounts = SplitCounts(train=64, validation=8, test=8)
    n_steps: int = Field(
        default=20, ge=1, description="steps of a trajectory, which has one more state"
    )
    time_step: TimeStepText = Field(default="1h", description="interval between stored states")
    spin_up: str = Field(default="0h", description="time solved before the first stored state")
    solver_dt: float | None = Field(
        default=None, gt=0, description="solver step, s; automatic by default"
    )
    start_time: str = "2000-01-01"
    dtype: Literal["float32", "float64"] = "float64"
    batch_size: int = Field(default=32, ge=1, description="trajectories solved together")
    seed: int = 0


class SolverData(Section):
    """Settings that the other solvers share."""

    variables: tuple[VariableName, ...] = ()
    grid: GridConfig = GridConfig(nlat=64, nlon=128)
    lmax: int = Field(
        default=43, ge=3, description="truncation of the solver, exclusive (T42 = 43)"
    )
    trajectories: SplitCounts = SplitCounts(train=64, validation=8, test=8)
    start_time: str = "2000-01-01"
    batch_size: int = Field(default=32, ge=1, description="trajectories solved together")
    seed: int = 0

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of the store."""
        return self.variables


class EvolutionData(SolverData):
    """Settings of a solver of equations with time."""

    n_steps: int = Field(
        default=20, ge=1, description="steps of a trajectory, which has one more state"
    )
    time_step: TimeStepText = Field(default="6h", description=_STEP)
    spin_up: str = Field(default="0h", description=_SPIN_UP)
    solver_dt: float | None = Field(
        default=None, gt=0, description="solver step, s; automatic by default"
    )
    dtype: Literal["float32", "float64"] = "float64"


def _check_harmonic(name: str, degree: int, order: int) -> None:
    """Raise a ValueError if an order is above its degree."""
    if order > degree:
        raise ValueError(
            f"{name}_order {order} is above {name}_degree {degree}; take an order of at most the "
            "degree"
        )


class BarotropicParameters(Section):
    """Constants of the barotropic vorticity equation, and of its initial states."""

    radius: float = Field(default=6.37122e6, gt=0, description="radius of the sphere, m")
    rotation: float = Field(default=0.0, ge=0, description="angular velocity of the sphere, s-1")
    forcing: float = Field(default=1e-10, ge=0, description="rms of the forcing, s-2")
    forcing_degree: int = Field(default=8, ge=1, description="degree of the forcing")
    forcing_order: int = Field(default=0, ge=0, description="order of the forcing; 0: zonal bands")
    drag_days: float = Field(
        default=20.0, ge=0, description="e-folding time of the drag, d; 0 for no drag"
    )
    hyperdiffusion_hours: float = Field(
        default=4.0, ge=0, description="e-folding time of the last degree by diffusion with the "
        "8th power of the gradient, h; 0 for no diffusion",
    )  # fmt: skip
    initial_wind: float = Field(default=20.0, gt=0, description="rms wind of the start, m s-1")
    initial_length: float = Field(
        default=0.2, gt=0, description="correlation length of the vorticity of the start, radians"
    )

    @model_validator(mode="after")
    def _harmonic(self) -> BarotropicParameters:
        _check_harmonic("forcing", self.forcing_degree, self.forcing_order)
        return self


class BarotropicData(EvolutionData):
    """Training data from the forced barotropic vorticity equation."""

    source: Literal["barotropic"] = "barotropic"
    variables: tuple[VariableName, ...] = ("vorticity",)
    spin_up: str = Field(default="20d", description=_SPIN_UP)
    parameters: BarotropicParameters = BarotropicParameters()


class DiffusionReactionParameters(Section):
    """Constants of the FitzHugh-Nagumo equations on the unit sphere, and of their start."""

    activator_diffusivity: float = Field(default=2e-3, ge=0, description="per unit of time")
    inhibitor_diffusivity: float = Field(default=1e-2, ge=0, description="per unit of time")
    constant: float = Field(default=5e-3, description="constant k of the reaction")
    initial_length: float = Field(
        default=0.2, gt=0, description="correlation length of the start, radians"
    )


class DiffusionReactionData(EvolutionData):
    """Training data from a diffusion-reaction system with two fields (FitzHugh-Nagumo)."""

    source: Literal["diffusion_reaction"] = "diffusion_reaction"
    variables: tuple[VariableName, ...] = ("activator", "inhibitor")
    time_step: TimeStepText = Field(default="15min", description=_STEP)
    parameters: DiffusionReactionParameters = DiffusionReactionParameters()


class DarcyParameters(Section):
    """Permeability and source of steady Darcy flow on the unit sphere."""

    high: float = Field(default=12.0, gt=0, description="permeability where the field is positive")
    low: float = Field(default=3.0, gt=0, description="permeability elsewhere")
    length: float = Field(
        default=0.3, gt=0, description="correlation length of the Gaussian field, radians"
    )
    source_degree: int = Field(default=4, ge=1, description="degree of the source, of rms 1")
    source_order: int = Field(default=0, ge=0, description="order of the source")

    @model_validator(mode="after")
    def _harmonic(self) -> DarcyParameters:
        _check_harmonic("source", self.source_degree, self.source_order)
        return self


class DarcyData(SolverData):
    """Training data from steady Darcy flow: the hydraulic head of a given permeability.

    A sample is a trajectory of two states: without and with the source.
    """

    source: Literal["darcy"] = "darcy"
    variables: tuple[VariableName, ...] = ("hydraulic_head",)
    forcing: tuple[VariableName, ...] = Field(
        default=("permeability",), description="fields that are given, not predicted"
    )
    lmax: int = Field(default=129, ge=3, description="truncation of the solver, exclusive")
    trajectories: SplitCounts = SplitCounts(train=1000, validation=100, test=200)
    time_step: TimeStepText = Field(
        default="1h", description="nominal interval between the two states of a sample"
    )
    parameters: DarcyParameters = DarcyParameters()

    @property
    def n_steps(self) -> int:
        """Number of steps of a trajectory."""
        return 1

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of the store."""
        return (*self.variables, *self.forcing)
