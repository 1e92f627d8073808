"""Base class and types shared by all sections of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from configs.length import parse_length
from configs.time.step import TimeStep
from configs.variables import Role


class Section(BaseModel):
    """Base of all sections: immutable, without unknown keys; numbers are accepted as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def _time_step(text: str) -> str:
    return TimeStep.parse(text).label


def _length(text: str) -> str:
    parse_length(text)
    return text


TimeStepText = Annotated[str, AfterValidator(_time_step)]
LengthText = Annotated[str, AfterValidator(_length)]
"""Length such as 500km or 10deg."""
VariableName = Annotated[str, "short name of a channel"]
"""Short name, which `Config` looks up in its table of variables."""


def variable_names(section: BaseModel, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the value of all short names of variables in a section."""
    for name, field in type(section).model_fields.items():
        value, inner = getattr(section, name), f"{key}.{name}" if key else name
        if field.annotation == tuple[VariableName, ...]:
            yield from ((f"{inner}.{i}", short) for i, short in enumerate(value))
        elif isinstance(value, BaseModel):
            yield from variable_names(value, inner)


class VariableEntry(Section):
    """Entry of the table of variables; keys left out keep the values of a known variable."""

    standard_name: str | None = Field(default=None, description="CF standard name")
    long_name: str | None = Field(default=None, description="name in titles and tables")
    units: str | None = Field(default=None, description="UDUNITS string")
    role: Role | None = None
    positive: bool | None = Field(default=None, description="true: never negative")
    conserved: bool | None = Field(default=None, description="true: a forecast keeps the area mean")
    accumulated: bool | None = Field(
        default=None, description="true: each value is an amount over a period"
    )
    rate_of: str | None = Field(
        default=None, description="accumulated variable of which this one is the mean rate"
    )
    levelled: bool | None = Field(
        default=None, description="true: a pressure in hPa follows the short name, as in z500"
    )
    height: float | None = Field(default=None, description="height above the surface, m")
    aliases: tuple[str, ...] = Field(default=(), description="further names in files")
    periods: dict[str, TimeStepText] = Field(
        default={}, description="further names in files, which say the period of accumulation: "
        "that period",
    )  # fmt: skip

    @property
    def given(self) -> dict[str, Any]:
        """Values of the keys that are not left out."""
        return {key: value for key, value in self if value not in (None, (), {})}

    @model_serializer(mode="wrap")
    def _serialise(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.given}


class GridConfig(Section):
    """Kind and size of a global grid."""

    kind: Literal["equiangular", "cell-centred", "legendre-gauss"] = "legendre-gauss"
    nlat: int = Field(ge=4)
    nlon: int = Field(ge=4)
