"""Table of variables: valid entries, and names that identify one entry each."""

from typing import get_args

import pytest

from configs.load import preset_names
from configs.variables import TABLE, VARIABLES, Role, variable


def test_every_entry_has_a_role_and_units_that_are_text() -> None:
    for name, entry in VARIABLES.items():
        assert entry.role in get_args(Role), name
        assert all(isinstance(t, str) and t for t in (entry.units, entry.long_name)), name
        assert all(isinstance(alias, str) for alias in entry.aliases), name


def test_an_alias_belongs_to_one_variable() -> None:
    aliases = [alias for entry in VARIABLES.values() for alias in entry.aliases]
    assert len(aliases) == len(set(aliases))


def test_a_levelled_variable_takes_its_level_from_its_name() -> None:
    z500 = variable("z500")
    assert (z500.name, z500.level, z500.long_name) == ("z500", 500, "Geopotential at 500 hPa")
    with pytest.raises(ValueError, match="q, t, u, v, z take a pressure in hPa"):
        variable("z")


def test_the_table_is_no_preset() -> None:
    assert TABLE.stem not in preset_names()
