"""Interface of derived fields: variables of a forecast file that follow from its channels."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.variables import VARIABLES, Variable
from sphere_ops.grid import EARTH_RADIUS, EARTH_ROTATION, Grid
from sphere_ops.parallel.fields import own_rows


@dataclass(frozen=True, eq=False)
class Sphere:
    """Geometry and constants on which derived fields depend.

    Attributes:
        grid: Grid of the fields.
        radius: Radius, m.
        surface: Height of the surface, m, (own rows, nlon); None if it is not known.
    """

    grid: Grid
    radius: float = EARTH_RADIUS
    surface: Tensor | None = None

    @property
    def coriolis(self) -> Tensor:
        """Coriolis parameter f of this rank's rows, s⁻¹, (own rows, 1) float64."""
        latitude = torch.deg2rad(self.grid.latitude[own_rows(self.grid)])
        return 2 * EARTH_ROTATION * torch.sin(latitude)[:, None]


@dataclass(frozen=True, eq=False)
class DerivedField:
    """Variables that are computed together.

    Attributes:
        inputs: Names of the variables that they are computed from.
        outputs: Variables that are computed.
        compute: Function from inputs (b, len(inputs), nlat, nlon) to outputs
            (b, len(outputs), nlat, nlon), in physical units and of the same type; in a mesh own
            rows, and all ranks along latitude call it together.
        whole_sphere: True if every value depends on the inputs everywhere, so that they may not
            have a mask.
        comment: Remark on the values, for the forecast file; empty without any.
    """

    inputs: tuple[str, ...]
    outputs: tuple[Variable, ...]
    compute: Callable[[Tensor], Tensor]
    whole_sphere: bool = True
    comment: str = ""


@dataclass(frozen=True)
class Derivation:
    """Entry of the table of derived fields.

    Attributes:
        find: Function that returns all fields that follow from variables of given names.
        needs: Inputs in words, for the error of a forecast that lacks them.
        after: Names of derivations whose outputs may be inputs where no channel is one.
    """

    find: Callable[[Collection[str], Sphere], list[DerivedField]]
    needs: str
    after: tuple[str, ...] = ()


def levels_of(names: Collection[str], *bases: str) -> list[int]:
    """Return the pressure levels, hPa, on which there are all variables of some short names.

    Args:
        names: Names of variables: "u500", "v500", "t2m".
        bases: Short names without the level: "u", "v".
    """
    first, *others = bases
    found = [name.removeprefix(first) for name in names if name.startswith(first)]
    return sorted(
        int(level)
        for level in found
        if level.isdecimal()
        and all(base + level in names for base in others)
        and first + level not in VARIABLES  # u10 is the wind at 10 m
    )


def with_level(variables: tuple[Variable, Variable], level: int) -> tuple[Variable, Variable]:
    """Return two variables on a pressure level, whose names and long names say it."""
    first, second = (
        Variable(
            f"{v.name}{level}", f"{v.long_name} at {level} hPa", v.units, v.standard_name,
            level=level,
        )
        for v in variables
    )  # fmt: skip
    return first, second
