"""Table of variables: valid entries, names that identify one entry each, and its extension."""

import pickle
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
import yaml

from configs.files import preset_names
from configs.load import dump_config, load_config
from configs.variables import BUILT_IN, TABLE, VARIABLES, Role, VariableTable, variable

ARCHIVES = {
    # name in files, with levels: short name
    ("z", True): "z", ("geopotential", True): "z", ("zg", True): "z", ("hgt", True): "z",
    ("z", False): "orography", ("geopotential_at_surface", False): "orography",
    ("u_component_of_wind", True): "u", ("vertical_velocity", True): "w", ("omega", True): "w",
    ("wap", True): "w", ("hus", True): "q", ("rhum", True): "r",
    ("potential_vorticity", True): "pv",
    ("2t", False): "t2m", ("2m_temperature", False): "t2m", ("tas", False): "t2m",
    ("2d", False): "d2m", ("tdps", False): "d2m", ("100u", False): "u100m",
    ("u100", False): "u100m", ("10fg", False): "fg10", ("fg10", False): "fg10",
    ("prmsl", False): "msl", ("pres", False): "sp", ("ts", False): "skt",
    ("ci", False): "siconc", ("sea_ice_cover", False): "siconc", ("siconc", False): "siconc",
    ("clt", False): "tcc", ("prw", False): "tcwv", ("total_column_water_vapour", False): "tcwv",
    ("total_precipitation_6hr", False): "tp", ("prate", False): "mtpr", ("pr", False): "mtpr",
    ("avg_tprate", False): "mtpr", ("mean_total_precipitation_rate", False): "mtpr",
    ("avg_sdswrf", False): "msdwswrf", ("msdwswrf", False): "msdwswrf", ("rsds", False): "msdwswrf",
    ("avg_ishf", False): "msshf", ("toa_incident_solar_radiation", False): "tisr",
    ("soil_temperature_level_3", False): "stl3", ("p71.162", False): "viwve",
    ("significant_height_of_combined_wind_waves_and_swell", False): "swh",
    ("sftlf", False): "land_fraction", ("soil_type", False): "slt", ("mrsos", False): "mrsos",
    ("standard_deviation_of_orography", False): "sdor", ("TMAX", False): "tmax",
}  # fmt: skip
ENTRY = {"units": "m s-1", "long_name": "Speed"}


def test_every_entry_has_a_role_and_units_that_are_text() -> None:
    for name, entry in VARIABLES.items():
        assert entry.role in get_args(Role), name
        assert all(isinstance(t, str) and t for t in (entry.units, entry.long_name)), name
        assert all(isinstance(alias, str) for alias in entry.aliases), name


def test_a_name_belongs_to_one_variable_with_levels_and_to_one_without() -> None:
    """The table refuses shared names; a channel on a level is not called like another variable."""
    with pytest.raises(ValueError, match=r"variables\.b: the name 'x' is that of a"):
        VariableTable({"a": {**ENTRY, "aliases": ["X"]}, "b": {**ENTRY, "aliases": ["x"]}})
    VariableTable({"a": {**ENTRY, "aliases": ["x"]}, "x": {**ENTRY, "levelled": True}})
    levelled = tuple(BUILT_IN.levelled)
    single = [n for n in VARIABLES if n not in levelled]
    like_levels = {n for n in single for b in levelled if n.removeprefix(b).isdecimal()}
    assert like_levels == {"u10", "v10"}


@pytest.mark.parametrize(("file_name", "has_levels"), ARCHIVES)
def test_names_of_archives_are_known(file_name: str, has_levels: bool) -> None:
    found = BUILT_IN.find(file_name, has_levels)
    assert found is not None and found.name == ARCHIVES[file_name, has_levels]
    assert found.level is None
    channel = found if not has_levels else variable(f"{found.name}500")
    assert file_name.lower() in BUILT_IN.names_of(channel)


@pytest.mark.parametrize(
    ("file_name", "channel"),
    [("z500", "z500"), ("ta850", "t850"), ("u_component_of_wind_250", "u250"), ("u10", "u10"),
     ("o3500", "o3500"), ("ua100", "u100"), ("Z500", "z500")],
)  # fmt: skip
def test_a_name_without_levels_may_say_the_level(file_name: str, channel: str) -> None:
    assert BUILT_IN.find(file_name, has_levels=False) == variable(channel)
    assert file_name.lower() in BUILT_IN.names_of(variable(channel))


def test_the_wind_at_100_m_is_not_the_wind_at_100_hpa() -> None:
    assert variable("u100").level == 100
    assert "u100" not in BUILT_IN.names_of(variable("u100"))
    assert "u100" in BUILT_IN.names_of(variable("u100m"))


@pytest.mark.parametrize("name", ["nonsense", "z0", "ua10", "500", "", "t2x"])
def test_other_names_are_unknown(name: str) -> None:
    assert BUILT_IN.find(name, has_levels=True) is None
    if name != "z0":
        assert BUILT_IN.find(name, has_levels=False) is None


def test_a_name_says_its_period_of_accumulation() -> None:
    assert BUILT_IN.period_of("Total_Precipitation_24hr") == "24h"
    assert BUILT_IN.period_of("total_precipitation") is None
    assert BUILT_IN.period_of("unknown") is None


def test_a_rate_has_the_role_and_the_sign_of_its_amount() -> None:
    rates = [v for v in VARIABLES.values() if v.rate_of]
    assert len(rates) > 30
    for rate in rates:
        amount = VARIABLES[rate.rate_of]
        assert amount.accumulated and not rate.accumulated
        assert (rate.role, rate.positive) == (amount.role, amount.positive), rate.name
    assert {v.rate_of for v in rates} == {v.name for v in VARIABLES.values() if v.accumulated}


def test_standard_names_are_those_of_cf_and_have_its_units() -> None:
    checker = pytest.importorskip("compliance_checker", reason="compliance-checker is missing")
    cf_units = pytest.importorskip("cf_units", reason="cf-units is not installed")
    table = ElementTree.parse(Path(checker.__file__).parent / "data" / "cf-standard-name-table.xml")
    units = {e.get("id"): e.findtext("canonical_units") for e in table.iter("entry")}
    renamed = {e.get("id"): e.findtext("entry_id") for e in table.iter("alias")}
    for found in VARIABLES.values():
        if name := found.standard_name:
            canonical = cf_units.Unit(units[renamed.get(name, name)])
            assert canonical.is_convertible(found.units), found.name


def test_a_levelled_variable_takes_its_level_from_its_name() -> None:
    z500 = variable("z500")
    assert (z500.name, z500.level, z500.long_name) == ("z500", 500, "Geopotential at 500 hPa")
    assert (variable("o3500").level, variable("z1000").level) == (500, 1000)
    with pytest.raises(ValueError, match="q, r, t, u, v, vo, w, ws, z take a pressure in hPa"):
        variable("z")
    for name in ("z0", "z01", "z50000", "o3"):
        with pytest.raises(ValueError, match="unknown variable"):
            variable(name)


@pytest.mark.parametrize(
    ("name", "nearest"), [("ssst", "sst"), ("tas", "t2m"), ("temperature", "t500")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown variable '{name}'; nearest: {nearest}\b"):
        variable(name)


def test_the_table_is_no_preset() -> None:
    assert TABLE.stem not in preset_names()


def test_the_table_can_be_sent_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(BUILT_IN))
    assert copy.variables == BUILT_IN.variables
    assert copy.find("tas", has_levels=False) == variable("t2m")


# --- the section `variables` of a configuration ---------------------------------------------------


def test_a_configuration_adds_a_variable() -> None:
    entry = "{units: kg kg-1, long_name: Dust, positive: true, levelled: true, aliases: [DU]}"
    config = load_config(
        "reanalysis_smoke", [f"variables.dust={entry}", "data.variables=[dust500, t2m]"]
    )
    dust = config.table.variable("dust500")
    assert (dust.level, dust.long_name, dust.positive) == (500, "Dust at 500 hPa", True)
    assert config.table.find("du", has_levels=True) == config.table.variables["dust"]
    assert config.table.variable("t2m") == variable("t2m")
    assert "dust" not in VARIABLES


def test_a_configuration_changes_a_known_variable() -> None:
    config = load_config("sst", ["variables.sst.role=forcing", "variables.sst.aliases=[analysed]"])
    sst = config.table.variable("sst")
    assert (sst.role, sst.units) == ("forcing", "degC")
    assert {"tos", "analysed"} <= config.table.names_of(sst)
    assert variable("sst").role == "prognostic"


def test_a_channel_on_one_level_can_be_changed() -> None:
    table = BUILT_IN.extended({"z500": {"role": "diagnostic"}, "u": {"role": "forcing"}})
    assert (table.variable("z500").role, table.variable("z700").role) == (
        "diagnostic",
        "prognostic",
    )
    assert table.variable("z500").level == 500
    assert table.names_of(table.variable("z500")) == BUILT_IN.names_of(variable("z500"))
    assert table.variable("u850").role == "forcing"


def test_a_name_in_files_moves_to_the_variable_that_asks_for_it() -> None:
    table = BUILT_IN.extended({"pr": ENTRY, "ice": {**ENTRY, "aliases": ["SICONCA"]}})
    assert table.find("pr", has_levels=False) == table.variables["pr"]
    assert table.find("siconca", has_levels=False) == table.variables["ice"]
    assert "siconca" not in table.names_of(table.variable("siconc"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"sstt": {"role": "forcing"}}, "variables.sstt: unknown variable; nearest: sst"),
        ({"tas": {"role": "forcing"}}, "variables.tas: unknown variable; nearest: t2m"),
        ({"a-b": ENTRY}, r"variables.a-b: a short name is made of letters"),
        ({"my": {**ENTRY, "aliases": ["sst"]}}, "variables.my: the name 'sst' is that of sst"),
        ({"my": {**ENTRY, "rate_of": "t2m"}}, "rate_of is 't2m', which is no accumulated"),
        ({"my": {**ENTRY, "periods": {"my6": "soon"}}}, "time step 'soon' is not"),
        ({"sst": {"rol": "forcing"}}, "unknown key variables.sst.rol; nearest: role"),
        ({"sst": {"role": "static_"}}, "variables.sst.role is 'static_'; allowed"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_line(
    entries: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    tree = {"variables": entries, **yaml.safe_load((TABLE.parent / "sst.yaml").read_text())}
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ValueError, match=f"^configuration {path}: .*{message}") as error:
        load_config(path)
    assert "\n" not in str(error.value) and "data." not in str(error.value)


@pytest.mark.parametrize(
    ("override", "key"),
    [("data.variables=[sst, nope]", "data.variables.1"), ("model.static=[nope]", "model.static.0"),
     ("data.mask=[nope]", "data.mask.0"),
     ("model.persistent_mean=[nope]", "model.persistent_mean.0")],
)  # fmt: skip
def test_names_are_looked_up_in_the_table_of_the_configuration(override: str, key: str) -> None:
    with pytest.raises(ValueError, match=f"configuration sst: {key}.*unknown variable 'nope'"):
        load_config("sst", [override])
    load_config("sst", ["variables.nope={units: K}", override])


def test_a_dumped_configuration_has_the_same_table(tmp_path: Path) -> None:
    config = load_config("sst", ["variables.sst.role=forcing", "variables.dust={units: 1}"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert "variables:\n  sst:\n    role: forcing\n" in path.read_text()
    assert load_config(path).table.variables == config.table.variables
