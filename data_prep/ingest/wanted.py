"""Channels that a configuration asks for, and the error of one that no source has."""

from __future__ import annotations

from dataclasses import replace

from configs.schema import FilesData
from configs.variables import Variable, VariableTable
from data_prep.ingest.catalogue.search import Catalogue

_COMPUTED = frozenset({"insolation", "daily_insolation", "sin_year", "cos_year"})
_POSITIONAL = frozenset({"sin_latitude", "cos_latitude", "sin_longitude", "cos_longitude"})


def wanted_channels(config: FilesData, table: VariableTable) -> list[Variable]:
    """Return the channels of a configuration with their roles: predicted ones, then forcings.

    Raises:
        ValueError: if a name is in the wrong list, or in a list twice.
    """
    predicted = [table.variable(name) for name in config.variables]
    for channel in predicted:
        if channel.role == "static":
            raise ValueError(
                f"{channel.name} in data.variables is a static field; name it in data.static "
                "instead"
            )
        if channel.role == "forcing":
            where = "model.forcing" if channel.name in _COMPUTED else "data.forcing"
            raise ValueError(
                f"{channel.name} in data.variables is a forcing field; name it in {where} instead"
            )
    for name in config.static:
        static = table.variable(name)
        if static.role != "static" or static.name in _POSITIONAL:
            raise ValueError(
                f"{static.name} in data.static is not a static field of files; expected "
                "orography or land_fraction (fields computed from the grid go into model.static)"
            )
    given = [replace(table.variable(name), role="forcing") for name in config.forcing]
    names = [v.name for v in (*predicted, *given)]
    for setting in ("mask", "moving_mask"):
        if strangers := set(getattr(config, setting)) - set(names):
            raise ValueError(
                f"data.{setting} names {', '.join(sorted(strangers))}, expected only "
                f"data.variables: {', '.join(names)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"data.variables names one twice: {', '.join(names)}")
    return [*predicted, *given]


def not_found(catalogue: Catalogue, channel: Variable) -> ValueError:
    """Return the error of a channel that no source holds; it lists the variables of the sources."""
    described = [
        f"{name} (at {', '.join(f'{level:g}' for level in sorted(levels))} hPa)" if levels else name
        for name, levels in sorted(catalogue.held.items())
    ]
    what = f"{channel.base} at {channel.level} hPa" if channel.level else channel.long_name
    return ValueError(
        f"{channel.name} ({what}) is not in the files; "
        + (
            f"they have {'; '.join(described)}; if one of these is it, give "
            f"data.rename.NAME={channel.name}"
            if described
            else "they have no variable on latitude and longitude; give other files"
        )
    )
