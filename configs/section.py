"""Base class and types shared by all sections of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from configs.timestep import TimeStep
from configs.variables import variable


class Section(BaseModel):
    """Base of all sections: immutable, without unknown keys; numbers are accepted as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def _time_step(text: str) -> str:
    return TimeStep.parse(text).label


def _variable_name(name: str) -> str:
    return variable(name).name


TimeStepText = Annotated[str, AfterValidator(_time_step)]
VariableName = Annotated[str, AfterValidator(_variable_name)]


class GridConfig(Section):
    """Kind and size of a global grid."""

    kind: Literal["equiangular", "cell-centred", "legendre-gauss"] = "legendre-gauss"
    nlat: int = Field(ge=4)
    nlon: int = Field(ge=4)
