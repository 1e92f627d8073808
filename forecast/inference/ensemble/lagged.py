"""Members that start from earlier states and forecast longer."""

from __future__ import annotations

from typing import ClassVar

from configs.time.step import TimeStep
from forecast.inference.ensemble.options import Option, Values, interval, n_steps
from forecast.inference.ensemble.perturbation import Perturbation, Setup


class LaggedStarts(Perturbation):
    """Member k starts k intervals before the initial time.

    Its forecast is counted from the initial time on, so that lead and valid times of all members
    agree (Hoffman and Kalnay 1983, Tellus A 35, 100-118). Member 0 starts at the initial time.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {"interval": interval("1")}

    def __init__(self, values: Values, setup: Setup, number: int = 0) -> None:
        """See `Perturbation`."""
        if setup.store is None:
            raise ValueError(
                "lagged members need states before the initial one, and only one is given; take "
                "another perturbation, or forecast from a store with `forecast rollout`"
            )

    @classmethod
    def lag(cls, values: Values, time_step: TimeStep, member: int) -> int:
        """See `Perturbation`."""
        return member * n_steps(values["interval"], time_step, "interval")
