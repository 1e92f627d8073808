"""Table of variables: CF metadata of each short name, and the role of the variable in a model."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

import yaml

Role = Literal["prognostic", "diagnostic", "forcing", "static"]


@dataclass(frozen=True)
class Variable:
    """Variable of the table, or a channel on one of its pressure levels.

    Attributes:
        name: Short name, which is the name of the channel ("sst", "z500").
        long_name: Name in titles and tables.
        units: UDUNITS string.
        standard_name: CF standard name; empty if CF has none.
        role: Role in a model, unless the configuration gives another.
        conserved: True if a forecast keeps the area mean exactly.
        aliases: Other names of the variable in files.
        level: Pressure in hPa; None for a field on a single level.
    """

    name: str
    long_name: str
    units: str
    standard_name: str = ""
    role: Role = "prognostic"
    conserved: bool = False
    aliases: tuple[str, ...] = ()
    level: int | None = None


TABLE: Final = Path(__file__).with_suffix(".yaml")
"""File of the table, with one entry for each variable."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is faster
_ENTRIES = yaml.load(TABLE.read_text(encoding="utf-8"), _LOADER)
_LEVELLED = sorted(name for name, entry in _ENTRIES.items() if entry.pop("levelled", False))

VARIABLES: dict[str, Variable] = {
    name: Variable(name, aliases=tuple(entry.pop("aliases", ())), **entry)
    for name, entry in _ENTRIES.items()
}
"""All variables by their short names, without levels."""


def variable(name: str) -> Variable:
    """Return the variable of a channel from its short name.

    Args:
        name: Name in the table; for pressure levels followed by the pressure in hPa ("t850").

    Returns:
        Entry of the table. For a pressure level, `name`, `long_name` and `level` are set.

    Raises:
        ValueError: if the name is unknown. The message gives the nearest valid names.
    """
    if name in VARIABLES and name not in _LEVELLED:
        return VARIABLES[name]
    match = re.fullmatch(r"([a-z]+?)(\d{1,4})", name)
    if match and match[1] in _LEVELLED:
        base, level = VARIABLES[match[1]], int(match[2])
        return replace(base, name=name, level=level, long_name=f"{base.long_name} at {level} hPa")
    known = [n for n in VARIABLES if n not in _LEVELLED] + [f"{n}500" for n in _LEVELLED]
    near = get_close_matches(name, known, n=3) or sorted(known)
    raise ValueError(
        f"unknown variable {name!r}; nearest: {', '.join(near)} "
        f"(levelled variables {', '.join(_LEVELLED)} take a pressure in hPa, as in z500)"
    )
