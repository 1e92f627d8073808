"""Table of variables: CF attributes, role and aliases of each short name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

Role = Literal["prognostic", "diagnostic", "forcing", "static"]


@dataclass(frozen=True)
class Variable:
    """Variable of the table, or a channel on one of its pressure levels.

    Attributes:
        name: Short name, with the pressure in hPa for a pressure level ("z500").
        standard_name: CF standard name; empty if CF has none.
        long_name: Descriptive name for labels.
        units: UDUNITS string.
        role: Role in a model, unless the configuration overrides it.
        conserved: True if a forecast keeps the area mean exactly.
        aliases: Other names in files.
        level: Pressure in hPa, None for a single-level field.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    role: Role = "prognostic"
    conserved: bool = False
    aliases: tuple[str, ...] = ()
    level: int | None = None


_TABLE = (
    # shallow water
    Variable("geopotential", "geopotential", "Geopotential of the free surface", "m2 s-2",
             conserved=True),
    Variable("vorticity", "atmosphere_relative_vorticity", "Relative vorticity", "s-1",
             conserved=True),
    Variable("divergence", "divergence_of_wind", "Horizontal divergence", "s-1", conserved=True),
    Variable("eastward_wind", "eastward_wind", "Eastward wind", "m s-1"),
    Variable("northward_wind", "northward_wind", "Northward wind", "m s-1"),
    # pressure levels, as ERA5 names them
    Variable("z", "geopotential", "Geopotential", "m2 s-2",
             aliases=("geopotential", "gh", "hgt", "zg")),
    Variable("t", "air_temperature", "Temperature", "K", aliases=("temperature", "air")),
    Variable("u", "eastward_wind", "Eastward wind", "m s-1",
             aliases=("u_component_of_wind", "uwnd")),
    Variable("v", "northward_wind", "Northward wind", "m s-1",
             aliases=("v_component_of_wind", "vwnd")),
    Variable("q", "specific_humidity", "Specific humidity", "kg kg-1",
             aliases=("specific_humidity", "shum")),
    # single level
    Variable("t2m", "air_temperature", "Temperature at 2 m", "K",
             aliases=("2t", "2m_temperature", "tas")),
    Variable("u10", "eastward_wind", "Eastward wind at 10 m", "m s-1",
             aliases=("10u", "u10m", "10m_u_component_of_wind", "uas")),
    Variable("v10", "northward_wind", "Northward wind at 10 m", "m s-1",
             aliases=("10v", "v10m", "10m_v_component_of_wind", "vas")),
    Variable("msl", "air_pressure_at_mean_sea_level", "Pressure at mean sea level", "Pa",
             aliases=("slp", "psl", "prmsl", "mean_sea_level_pressure")),
    Variable("sp", "surface_air_pressure", "Surface pressure", "Pa",
             aliases=("ps", "surface_pressure")),
    Variable("tp", "lwe_thickness_of_precipitation_amount", "Total precipitation", "m",
             role="diagnostic", aliases=("total_precipitation",)),
    Variable("sst", "sea_surface_temperature", "Sea surface temperature", "degC",
             aliases=("sea_surface_temperature", "tos")),
    # static
    Variable("orography", "surface_altitude", "Height of the surface", "m", role="static",
             aliases=("orog", "topo", "z0", "elevation")),
    Variable("land_fraction", "land_area_fraction", "Fraction of land", "1", role="static",
             aliases=("lsm", "land_sea_mask", "sftlf")),
    Variable("sin_latitude", "", "Sine of latitude", "1", role="static"),
    Variable("cos_latitude", "", "Cosine of latitude", "1", role="static"),
    Variable("sin_longitude", "", "Cosine of latitude times sine of longitude", "1", role="static"),
    Variable("cos_longitude", "", "Cosine of latitude times cosine of longitude", "1",
             role="static"),
    # forcings that depend on time and position only
    Variable("insolation", "toa_incoming_shortwave_flux", "Insolation at the top of the atmosphere",
             "W m-2", role="forcing"),
    Variable("daily_insolation", "", "Daily mean insolation at the top of the atmosphere", "W m-2",
             role="forcing"),
    Variable("sin_year", "", "Sine of the fraction of the year", "1", role="forcing"),
    Variable("cos_year", "", "Cosine of the fraction of the year", "1", role="forcing"),
)  # fmt: skip

VARIABLES: dict[str, Variable] = {v.name: v for v in _TABLE}

_LEVELLED = frozenset({"z", "t", "u", "v", "q"})


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
    known = [n for n in VARIABLES if n not in _LEVELLED] + [f"{n}500" for n in sorted(_LEVELLED)]
    near = get_close_matches(name, known, n=3) or sorted(known)
    raise ValueError(
        f"unknown variable {name!r}; nearest: {', '.join(near)} "
        f"(levelled variables {', '.join(sorted(_LEVELLED))} take a pressure in hPa, as in z500)"
    )
