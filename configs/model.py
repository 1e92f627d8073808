"""Configuration of the network, its inputs and the layers around it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from configs.section import GridConfig, LengthText, Section, TimeStepText, VariableName


class SpectralBranch(Section):
    """Global spectral branch with one kernel value per degree."""

    lmax: int = Field(ge=1, description="truncation in degree, exclusive")
    complex: bool = False


_FIT_LMAX = (
    "degrees of the data, exclusive: the branch is accurate for all of them, and suppresses higher "
    "ones, so that it is the same operator on other grids; null for "
)


class IntegralBranch(Section):
    """Local integral (DISCO) branch."""

    theta_cutoff: float = Field(gt=0, le=3.1416, description="radius of the kernel, radians")
    kernel_shape: tuple[int, ...] = (3, 3)
    basis_type: Literal["piecewise linear", "harmonic", "zernike", "fourier-bessel"] = (
        "piecewise linear"
    )
    fit_lmax: int | None = Field(
        default=None, ge=2, description=_FIT_LMAX + "kernels that are sampled at grid points"
    )


class DifferentialBranch(Section):
    """Local differential branch."""

    order: Literal[1, 2] = Field(
        default=2, description="highest order of derivatives: second derivatives stabilise models "
        "whose spectral branch is truncated below the data; first derivatives cost less",
    )  # fmt: skip
    length_scale: float | None = Field(
        default=None, gt=0, description="unit of length of the derivatives, radians; default "
        "1/lmax of the spectral branch, or 1/32 without one",
    )  # fmt: skip
    fit_lmax: int | None = Field(
        default=None, ge=2, description=_FIT_LMAX + "derivatives of polynomials on five rows"
    )


class BranchesConfig(Section):
    """Branches that run in parallel in every block; a branch that is not named does not exist."""

    spectral: SpectralBranch | None = None
    integral: IntegralBranch | None = None
    differential: DifferentialBranch | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> BranchesConfig:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"name at least one branch: {', '.join(type(self).model_fields)}")
        return self


class NoiseConfig(Section):
    """Gaussian fields that a model gets in every step, so that its forecasts form an ensemble."""

    length_scales: tuple[LengthText, ...] = Field(
        min_length=1, description="correlation lengths of the fields, such as 500km or 10deg"
    )
    channels: int = Field(default=2, ge=1, description="number of fields of each length")
    correlation_time: TimeStepText | None = Field(
        default=None, description="e-folding time of the correlation of a field with itself, such "
        "as 12h; null for fields that are independent in every step",
    )  # fmt: skip
    into: Literal["first", "blocks"] = Field(
        default="blocks", description="first: inputs of the network; blocks: scale and shift of "
        "the channels at every point before each block",
    )  # fmt: skip

    @property
    def total_channels(self) -> int:
        """Number of fields of all lengths."""
        return self.channels * len(self.length_scales)


class ModelConfig(Section):
    """Network, its inputs and the layers around it."""

    branches: BranchesConfig
    grid: GridConfig | None = Field(
        default=None, description="grid of the blocks; default: grid of the data"
    )
    channels: int = Field(default=32, ge=1)
    blocks: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(
        default=1.5, gt=0, description="hidden channels of the pointwise layers / channels"
    )
    history: int = Field(
        default=1, ge=1, description="number of input states, up to the present one"
    )
    history_step: int = Field(
        default=1, ge=1, description="time steps from one input state to the next"
    )
    bundle: int = Field(
        default=1, ge=1, description="number of time steps that one application of the network "
        "predicts; several of them make long forecasts cheaper and more accurate",
    )  # fmt: skip
    static: tuple[VariableName, ...] = ("sin_latitude", "cos_latitude")
    forcing: tuple[VariableName, ...] = ()
    baseline: Literal["mean", "climatology"] = Field(
        default="mean", description="field subtracted before scaling: time mean, or mean by month; "
        "with the latter, training starts from damped persistence of the anomaly",
    )  # fmt: skip
    climatology_input: bool = Field(
        default=False, description="let the network see the mean by month of the prognostic "
        "channels at the time that it predicts, which tells places apart that static fields do "
        "not; if that is the baseline, it always does",
    )  # fmt: skip
    fill: Literal["baseline", "smooth"] = Field(
        default="baseline", description="values that the network sees at points without any: those "
        "of the baseline, or a smooth extension of the field around them",
    )  # fmt: skip
    conserve: bool = Field(default=True, description="keep the area mean of conserved channels")
    nonnegative: bool = Field(
        default=True, description="in rollouts, raise negative values of variables that are never "
        "negative, such as humidity, to 0",
    )  # fmt: skip
    persistent_mean: tuple[VariableName, ...] = Field(
        default=(), description="channels whose area mean keeps its departure from the baseline, "
        "for quantities that change slowly, such as the mean temperature of an ocean",
    )  # fmt: skip
    dealias_lmax: int | None = Field(
        default=None, ge=1, description="truncation of the tendency in degree, exclusive"
    )
    persistence: Literal["full", "damped"] = Field(
        default="full", description="what the output of the network is added to: the present "
        "state, or in each degree the time mean and the anomaly times its autocorrelation, so that "
        "errors decay; the latter is for climates with friction, and data without a mask",
    )  # fmt: skip
    spectral_limit: float | None = Field(
        default=1.5, ge=1, description="limit of the power of each degree of a channel in a "
        "rollout, as a multiple of its maximum in the training data; null for no limit",
    )  # fmt: skip
    range_limit: float | None = Field(
        default=None, ge=0, description="in rollouts, hold values inside the range of the training "
        "data at each point, widened on both sides by this share of its width; for climates of "
        "which the data hold many states",
    )  # fmt: skip
    noise: NoiseConfig | None = Field(
        default=None, description="random fields that a model trained by the CRPS gets in every "
        "step; null for a deterministic model",
    )  # fmt: skip

    @property
    def n_history(self) -> int:
        """Number of time steps from the first input state to the present one."""
        return (self.history - 1) * self.history_step
