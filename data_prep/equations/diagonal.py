"""Linear terms that act on each coefficient alone, and their exact propagation in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiagonalPropagator:
    """e^{hL} and ∫₀ʰ e^{sL} ds of a diagonal L; see `Propagator`.

    Attributes:
        growth: e^{hL}, shape of a state without its batch.
        integral: ∫₀ʰ e^{sL} ds, likewise.
    """

    growth: Tensor
    integral: Tensor

    @classmethod
    def over(cls, rate: Tensor, duration: float, dtype: torch.dtype) -> DiagonalPropagator:
        """Return the operators over a time.

        Args:
            rate: Entries of L, s⁻¹, real or complex.
            duration: Time h, s.
            dtype: Type of the operators.
        """
        z = rate.to(torch.complex128) * duration
        growth = z.exp()
        integral = torch.where(z == 0, 1.0, z.expm1() / torch.where(z == 0, 1.0, z)) * duration
        if not dtype.is_complex:
            growth, integral = growth.real, integral.real
        return cls(growth.to(dtype), integral.to(dtype))

    def propagate(self, state: Tensor) -> Tensor:
        """Return e^{hL} x."""
        return self.growth * state

    def accumulate(self, tendency: Tensor) -> Tensor:
        """Return ∫₀ʰ e^{sL} ds y for a constant tendency y."""
        return self.integral * tendency
