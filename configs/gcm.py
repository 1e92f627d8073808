"""Section of a run of a circulation model, which makes the files of a training store."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from configs.section import Section, TimeStepText
from configs.time.step import TimeStep


class SeaSurfaceConfig(Section):
    """Variation of the sea surface temperature from year to year.

    The patterns are the leading empirical orthogonal functions of the observed anomalies of 1979 to
    2013; their amplitudes are red noise with the observed decorrelation times.
    """

    modes: int = Field(default=1, ge=0, le=20, description="number of patterns; 0 for none")
    amplitude: float = Field(default=1.0, ge=0, description="amplitude over the observed one")


class GcmConfig(Section):
    """Run of a circulation model."""

    model: Literal["jcm", "held_suarez"] = Field(
        default="jcm", description="jcm: SPEEDY's physics on the spectral core dinosaur; "
        "held_suarez: the same core, dry, without mountains or seasons",
    )  # fmt: skip
    truncation: Literal[21, 31, 42] = Field(
        default=31, description="triangular truncation; 31 has a grid of 48×96"
    )
    levels: int = Field(
        default=8, ge=5, le=40, description="model levels; jcm has 7 or 8, held_suarez any number "
        "of evenly spaced ones",
    )  # fmt: skip
    solver_dt: TimeStepText = Field(default="40min", description="time step of the model")
    first: str = Field(default="2001-01-01", description="first day of the states")
    last: str = Field(description="last day")
    spin_up: TimeStepText = Field(default="365d", description="time from rest to the first day")
    sea_surface: SeaSurfaceConfig = SeaSurfaceConfig()
    member: int = Field(
        default=0, ge=0, description="number of the run; 0 starts from rest, others from rest with "
        "a random perturbation of the temperature",
    )  # fmt: skip
    perturbation: float = Field(
        default=1e-3, gt=0, description="root mean square of that perturbation, K"
    )
    seed: int = Field(default=0, ge=0)

    @field_validator("first", "last")
    @classmethod
    def _day(cls, text: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(f"{text!r} is not a day; write it as 2001-01-31")
        return text

    @model_validator(mode="after")
    def _of_the_model(self) -> GcmConfig:
        if self.model == "jcm" and self.levels not in (7, 8):
            raise ValueError(f"levels is {self.levels}; jcm has 7 or 8")
        if self.model != "jcm" and self.sea_surface != SeaSurfaceConfig():
            raise ValueError(f"{self.model} has no sea surface; leave out sea_surface")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> GcmConfig:
        if self.last < self.first:
            raise ValueError(f"last is {self.last}, before the first day {self.first}")
        if TimeStep.parse(self.spin_up).unit != "d":
            raise ValueError(f"spin_up is {self.spin_up}; give whole days, such as 365d")
        return self
