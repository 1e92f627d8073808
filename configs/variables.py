"""Table of variables: CF metadata of each short name, its names in files, and its role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from configs.time.step import TimeStep

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
        positive: True if the variable is never negative.
        accumulated: True if each value is an amount over a period.
        rate_of: Accumulated variable of which this one is the mean rate; empty for none.
        height: Height above the surface, m, where the standard name does not say it.
    """

    name: str
    long_name: str
    units: str
    standard_name: str = ""
    role: Role = "prognostic"
    conserved: bool = False
    aliases: tuple[str, ...] = ()
    level: int | None = None
    positive: bool = False
    accumulated: bool = False
    rate_of: str = ""
    height: float | None = None

    @property
    def base(self) -> str:
        """Short name without the level."""
        return self.name if self.level is None else self.name.removesuffix(str(self.level))


class VariableTable:
    """Variables by short name, and the names of each in files. A table does not change.

    A name in files belongs to one variable on pressure levels and to one on a single level at most.

    Attributes:
        variables: All variables by short name. Those on pressure levels have no level here.
        levelled: Short names of the variables on pressure levels, sorted.
        changes: Entries that were added to the built-in ones, or change them.
    """

    def __init__(
        self,
        entries: Mapping[str, Mapping[str, Any]],
        changes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Build the table from its entries.

        Args:
            entries: Attributes of each variable by short name, as in the file of the table.
            changes: See the attribute.

        Raises:
            ValueError: if two variables share a name, or an entry names an unknown variable or a
                period that is none. The message begins with the key.
        """
        self._entries, self.changes = entries, changes or {}
        self.levelled = tuple(sorted(n for n, entry in entries.items() if entry.get("levelled")))
        self.variables: Mapping[str, Variable] = {
            name: Variable(
                name,
                aliases=tuple(entry.get("aliases", ())),
                **{k: v for k, v in entry.items() if k not in ("levelled", "aliases", "periods")},
            )
            for name, entry in entries.items()
        }
        self._owner: dict[tuple[str, bool], str] = {}
        self._period: dict[str, str] = {}
        for name in entries:
            for file_name in self._file_names(name):
                owner = self._owner.setdefault((file_name, name in self.levelled), name)
                if owner != name:
                    raise ValueError(f"variables.{name}: the name {file_name!r} is that of {owner}")
            for file_name, period in entries[name].get("periods", {}).items():
                self._period[file_name.lower()] = _period(name, period)
        for name, found in self.variables.items():
            amount = self.variables.get(found.rate_of)
            if found.rate_of and (amount is None or not amount.accumulated):
                raise ValueError(
                    f"variables.{name}.rate_of is {found.rate_of!r}, which is no accumulated "
                    f"variable{self._nearest(found.rate_of)}"
                )

    def variable(self, name: str) -> Variable:
        """Return the variable of a channel from its short name.

        Args:
            name: Name in the table; for pressure levels followed by the pressure in hPa ("t850").

        Returns:
            Entry of the table. For a pressure level, `name`, `long_name` and `level` are set.

        Raises:
            ValueError: if the name is unknown. The message gives the nearest valid names.
        """
        if name in self.variables and name not in self.levelled:
            return self.variables[name]
        for base, level in _split_level(name):
            if base in self.levelled:
                return self._on_level(base, level)
        raise ValueError(
            f"unknown variable {name!r}{self._nearest(name)} "
            f"(levelled variables {', '.join(self.levelled)} take a pressure in hPa, as in z500; "
            "others can be added in the section `variables`)"
        )

    def names_of(self, channel: Variable) -> frozenset[str]:
        """Return the names, in lower case, that a channel may have in files.

        Some may be those of another variable, with levels if the channel has none or the other way
        round; see `find`.
        """
        base = channel.base
        names = set(self._file_names(base)) if base in self.variables else {channel.name.lower()}
        if channel.level is not None:
            with_level = {f"{n}{gap}{channel.level}" for n in names for gap in ("", "_")}
            names |= {n for n in with_level if self._channel_of(n) == channel.name}
        return frozenset(names)

    def find(self, file_name: str, has_levels: bool) -> Variable | None:
        """Return the variable that has a name in files, in upper or lower case.

        Args:
            file_name: Name in the file.
            has_levels: True if the variable of the file has pressure levels.

        Returns:
            Entry of the table, without a level unless the name itself says it ("z500", "ta_850").
            None for an unknown name.
        """
        name = file_name.lower()
        if owner := self._owner.get((name, has_levels)):
            return self.variables[owner]
        for base, level in _split_level(name):
            if owner := self._owner.get((base.removesuffix("_"), True)):
                channel = f"{owner}{level}"
                other = channel in self.variables and self.variables[channel].level != level
                return None if other else self._on_level(owner, level)
        return None

    def period_of(self, file_name: str) -> str | None:
        """Return the period of accumulation that a name in files says ("6h"); None for none."""
        return self._period.get(file_name.lower())

    def entries_beyond(self, channels: Iterable[Variable]) -> dict[str, dict[str, str]]:
        """Return units and long name of the channels that the table lacks or has in other units.

        Args:
            channels: Channels.

        Returns:
            By short name, as `extended` takes them.
        """
        entries = {}
        for channel in channels:
            try:
                known = self.variable(channel.name).units == channel.units
            except ValueError:
                known = False
            if not known:
                entries[channel.name] = {"units": channel.units, "long_name": channel.long_name}
        return entries

    def extended(self, changes: Mapping[str, Mapping[str, Any]]) -> VariableTable:
        """Return a table with variables added or changed.

        Args:
            changes: Attributes by short name. Those of a known variable replace its own, except
                that aliases and periods are added; the name may also be that of a channel on a
                pressure level. A name in files that belonged to another variable moves to the one
                that names it here.

        Raises:
            ValueError: see the constructor; also if a new variable lacks units. The message begins
                with the key.
        """
        entries = {name: dict(entry) for name, entry in self._entries.items()}
        for name, change in changes.items():
            entry = entries.get(name) or self._new_entry(name, change)
            named = (name, *change.get("aliases", ()), *change.get("periods", ()))
            moved = {n.lower() for n in named}
            kind = bool({**entry, **change}.get("levelled"))
            for other, theirs in entries.items():
                if other not in changes and bool(theirs.get("levelled")) == kind:
                    _release(theirs, moved)
            added = {
                "aliases": [*entry.get("aliases", ()), *change.get("aliases", ())],
                "periods": {**entry.get("periods", {}), **change.get("periods", {})},
            }
            entries[name] = {**entry, **change, **{k: v for k, v in added.items() if v}}
        return VariableTable(entries, {**self.changes, **changes})

    def _new_entry(self, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry that a change of an unknown name starts from."""
        for base, level in _split_level(name):
            if base in self.levelled:
                channel = self._on_level(base, level)
                left_out = ("levelled", "aliases", "periods")
                entry = {k: v for k, v in self._entries[base].items() if k not in left_out}
                return {**entry, "long_name": channel.long_name, "level": level}
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None:
            raise ValueError(
                f"variables.{name}: a short name is made of letters, digits and _, and begins "
                "with a letter"
            )
        if "units" not in change:
            raise ValueError(
                f"variables.{name}: unknown variable{self._nearest(name)}; the entry of a new one "
                "needs units"
            )
        return {"long_name": name.replace("_", " ")}

    def _on_level(self, base: str, level: int) -> Variable:
        """Return the channel of a levelled variable at a pressure in hPa."""
        name, known = f"{base}{level}", self.variables[base]
        if name in self.variables and self.variables[name].level == level:
            return self.variables[name]  # with changes of its own
        return replace(known, name=name, level=level, long_name=f"{known.long_name} at {level} hPa")

    def _channel_of(self, file_name: str) -> str | None:
        """Return the name of the channel of a variable without levels in a file."""
        found = self.find(file_name, has_levels=False)
        return None if found is None else found.name

    def _file_names(self, name: str) -> Iterator[str]:
        """Yield each name in files of a short name once, in lower case."""
        entry = self._entries[name]
        every = (name, *entry.get("aliases", ()), *entry.get("periods", ()))
        yield from dict.fromkeys(n.lower() for n in every)

    def _nearest(self, name: str) -> str:
        """Return the part of a message that gives the nearest valid names; empty without any."""
        found = [self.find(name, has_levels) for has_levels in (False, True)]
        channels = {f"{n}500" if n in self.levelled else n: n for n in self.variables}
        near = [c for c, n in channels.items() if any(v and n == v.name for v in found)]
        near = near or get_close_matches(name, channels, n=3)
        return f"; nearest: {', '.join(near)}" if near else ""


def _split_level(name: str) -> Iterator[tuple[str, int]]:
    """Yield the ways to read a name as a base and a pressure, the longest pressure first."""
    for n in range(min(4, len(name) - 1), 0, -1):
        base, digits = name[:-n], name[-n:]
        if re.fullmatch(r"[1-9]\d*", digits, re.ASCII):
            yield base, int(digits)


def _period(name: str, text: str) -> str:
    try:
        return TimeStep.parse(text).label
    except ValueError as error:
        raise ValueError(f"variables.{name}.periods: {error}") from None


def _release(entry: dict[str, Any], names: set[str]) -> None:
    """Take aliases and periods of some names, in lower case, from an entry."""
    if "aliases" in entry:
        entry["aliases"] = [n for n in entry["aliases"] if n.lower() not in names]
    if "periods" in entry:
        entry["periods"] = {n: p for n, p in entry["periods"].items() if n.lower() not in names}


TABLE: Final = Path(__file__).with_suffix(".yaml")
"""File of the table, with one entry for each variable."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is faster

BUILT_IN: Final = VariableTable(yaml.load(TABLE.read_text(encoding="utf-8"), _LOADER))
"""Table of the file, without the changes of a configuration."""

VARIABLES: Final = BUILT_IN.variables
"""All variables of the built-in table by their short names, without levels."""


def variable(name: str) -> Variable:
    """Return the variable of a channel from its short name; see `VariableTable.variable`."""
    return BUILT_IN.variable(name)
