"""What can be configured of the network, its inputs, and what surrounds it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from configs.section import GridConfig, Section, VariableName


class SpectralBranch(Section):
    """The global branch: one kernel value per degree."""

    lmax: int = Field(ge=1, description="degrees kept, exclusive")
    complex: bool = False


class IntegralBranch(Section):
    """The local integral (DISCO) branch."""

    theta_cutoff: float = Field(gt=0, le=3.1416, description="radius of the kernel, radians")
    kernel_shape: tuple[int, ...] = (3, 3)
    basis_type: Literal["piecewise linear", "harmonic", "zernike", "fourier-bessel"] = (
        "piecewise linear"
    )


class DifferentialBranch(Section):
    """The local differential branch."""

    order: Literal[1, 2] = Field(
        default=2, description="highest derivatives: the second ones hold a model together whose "
        "spectral branch is cut off below the data; the first cost less where it is not",
    )  # fmt: skip
    length_scale: float | None = Field(
        default=None, gt=0, description="derivatives are per this length, radians; 1/lmax of the "
        "spectral branch if not given, 1/32 without one",
    )  # fmt: skip


class BranchesConfig(Section):
    """The branches that run in parallel in every block; one that is not named does not exist."""

    spectral: SpectralBranch | None = None
    integral: IntegralBranch | None = None
    differential: DifferentialBranch | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> BranchesConfig:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"name at least one branch: {', '.join(type(self).model_fields)}")
        return self


class ModelConfig(Section):
    """The network, its inputs, and what surrounds it."""

    branches: BranchesConfig
    grid: GridConfig | None = Field(
        default=None, description="grid of the blocks, if it is not that of the data"
    )
    channels: int = Field(default=32, ge=1)
    blocks: int = Field(default=4, ge=1)
    mlp: Literal["gelu", "products"] = Field(
        default="gelu", description="what follows the branches in a block: a GELU between two "
        "layers, or products of two linear maps: more exact where the branches resolve the data, "
        "and unbounded where they do not",
    )  # fmt: skip
    mlp_ratio: float = Field(default=2.0, gt=0, description="its hidden channels over `channels`")
    history: int = Field(
        default=1, ge=1, description="states that the model sees: the present one, and those one "
        "time step apart before it"
    )  # fmt: skip
    static: tuple[VariableName, ...] = ("sin_latitude", "cos_latitude")
    forcing: tuple[VariableName, ...] = ()
    baseline: Literal["mean", "climatology"] = Field(
        default="mean", description="what is subtracted before scaling: time mean, or mean by "
        "month; of departures from the latter, training starts with damped persistence",
    )  # fmt: skip
    conserve: bool = Field(default=True, description="keep the area mean of conserved channels")
    persistent_mean: tuple[VariableName, ...] = Field(
        default=(), description="channels whose area mean keeps its departure from the baseline: "
        "for what outlives the forecast, as the warmth of an ocean",
    )  # fmt: skip
    dealias_lmax: int | None = Field(
        default=None, ge=1, description="drop the tendency's degrees from this one on"
    )
    spectral_limit: float | None = Field(
        default=1.5, ge=1, description="in a rollout no degree of a channel has more power than "
        "this multiple of the largest in the training data; null lets it grow",
    )  # fmt: skip
