"""Derived fields: closed forms of balanced flows, and the choice of inputs."""

from __future__ import annotations

import pytest
import torch

from configs.variables import variable
from forecast.inference.output.derived import Sphere
from forecast.inference.output.geostrophic import EQUATORIAL
from forecast.inference.output.selection import OutputFields
from sphere_ops.grid import EARTH_GRAVITY, EARTH_RADIUS, EARTH_ROTATION, Grid
from sphere_ops.harmonics.winds import vorticity_divergence

GRIDS = [Grid.legendre_gauss(16, 32), Grid.equiangular(17, 32), Grid.cell_centred(16, 32)]
A, OMEGA, KAPPA = EARTH_RADIUS, EARTH_ROTATION, 2 / 7
U = 20.0
"""Wind at the equator of a solid rotation, m/s."""


def derive(fields: dict[str, torch.Tensor], grid: Grid, *names: str, **options) -> dict:
    """Return all variables that are written of one state, by name."""
    channels = [variable(name) for name in fields]
    surface = options.pop("surface", None)
    output = OutputFields(channels, Sphere(grid, A, surface), names, **options)
    values = output(torch.stack(list(fields.values())).double()[None])
    return dict(zip((v.name for v in output.variables), values[0], strict=True))


def sine(grid: Grid) -> torch.Tensor:
    return torch.sin(torch.deg2rad(grid.latitude))[:, None].expand(grid.shape)


def cosine(grid: Grid) -> torch.Tensor:
    return torch.cos(torch.deg2rad(grid.latitude))[:, None].expand(grid.shape)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_geostrophic_wind_balances_the_pressure_gradient(grid):
    # Φ = −Ω a U sin²φ balances f u with u = U cosφ, but for the curvature of the flow.
    phi = 5e4 - OMEGA * A * U * sine(grid) ** 2
    found = derive({"z500": phi}, grid, "geostrophic_wind")
    outside = (grid.latitude.abs() >= EQUATORIAL)[:, None].expand(grid.shape)
    expected = torch.where(outside, U * cosine(grid), torch.nan)
    torch.testing.assert_close(found["ug500"], expected, equal_nan=True, rtol=0, atol=1e-7)
    torch.testing.assert_close(
        found["vg500"],
        torch.where(outside, 0.0, torch.nan).double(),
        equal_nan=True,
        rtol=0,
        atol=1e-7,
    )


def test_geostrophic_wind_of_a_wave_blows_along_its_contours():
    grid = GRIDS[0]
    longitude = torch.deg2rad(grid.longitude)
    phi = 500.0 * cosine(grid) ** 2 * torch.cos(2 * longitude)
    found = derive({"geopotential": phi}, grid, "geostrophic_wind")
    f = 2 * OMEGA * sine(grid)
    north = -1000.0 * cosine(grid) * torch.sin(2 * longitude) / (f * A)  # ∂Φ/∂x / f
    east = 1000.0 * sine(grid) * cosine(grid) * torch.cos(2 * longitude) / (f * A)  # −∂Φ/∂y / f
    outside = ~torch.isnan(found["vg"])
    assert outside.sum() == 32 * sum(abs(x) >= EQUATORIAL for x in grid.latitude.tolist())
    torch.testing.assert_close(found["vg"][outside], north[outside], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["ug"][outside], east[outside], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_potential_vorticity_of_solid_rotation_of_a_layer(grid):
    # h = H − (a Ω U + U²/2) sin²φ / g is steady (Williamson et al. 1992, case 2).
    mountain = 500.0 * sine(grid) + 600.0
    height = 3000.0 - (A * OMEGA * U + U**2 / 2) * sine(grid) ** 2 / EARTH_GRAVITY
    state = {
        "geopotential": EARTH_GRAVITY * (height + mountain),
        "vorticity": 2 * U / A * sine(grid),
    }
    found = derive(state, grid, "potential_vorticity", surface=mountain)["potential_vorticity"]
    expected = (2 * U / A + 2 * OMEGA) * sine(grid) / height
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("vorticity", [True, False], ids=["given", "from the winds"])
def test_ertel_potential_vorticity_of_solid_rotation_with_shear(vorticity):
    # u = (U + S ln p) cosφ and θ = θ0 + N ln p + B sinφ, for which the derivatives are exact.
    grid, levels, shear, stability, slope = GRIDS[0], (300, 500, 850), -15.0, -40.0, -12.0
    state = {}
    for level in levels:
        log_p = torch.tensor(level / 1000.0).double().log()
        theta = 300.0 + stability * log_p + slope * sine(grid)
        state[f"t{level}"] = theta * (level / 1000.0) ** KAPPA
        state[f"u{level}"] = (U + shear * log_p) * cosine(grid)
        state[f"v{level}"] = torch.zeros(grid.shape)
    u = float(U + shear * torch.tensor(0.5).double().log())
    if vorticity:
        state["vo500"] = 2 * u / A * sine(grid)
    found = derive(state, grid, "potential_vorticity")
    assert {"pv500"} == found.keys() - state.keys()  # the middle level alone
    absolute = (2 * u / A + 2 * OMEGA) * sine(grid)
    expected = -EARTH_GRAVITY / 5e4 * (absolute * stability + shear * slope * cosine(grid) ** 2 / A)
    torch.testing.assert_close(found["pv500"], expected, rtol=1e-7, atol=1e-13)


def test_potential_vorticity_is_positive_in_the_stable_north():
    grid = GRIDS[0]
    state = {f"t{level}": torch.full(grid.shape, 250.0) for level in (300, 500, 850)}
    state |= {f"{c}{level}": torch.zeros(grid.shape) for c in "uv" for level in (300, 500, 850)}
    pv = derive(state, grid, "potential_vorticity", variables=("pv500",))["pv500"]
    north = grid.latitude > 0
    # An isothermal atmosphere has ∂θ/∂p = −κ θ / p; three levels have it to some percent.
    theta = 250.0 * 2**KAPPA
    expected = EARTH_GRAVITY * 2 * OMEGA * sine(grid) * KAPPA * theta / 5e4
    torch.testing.assert_close(pv, expected, rtol=0.05, atol=1e-20)
    assert (pv[north] > 0).all()


def test_wind_speed_is_the_length_of_the_wind():
    grid = GRIDS[0]
    u, v = torch.randn(2, *grid.shape, generator=torch.Generator().manual_seed(1)).double()
    state = {"u500": u, "v500": v, "u10": 3 * u, "v10": 4 * u, "t2m": v}
    found = derive(state, grid, "wind_speed")
    assert found.keys() - state.keys() == {"ws500", "si10"}
    torch.testing.assert_close(found["ws500"], (u**2 + v**2).sqrt())
    torch.testing.assert_close(found["si10"], 5 * u.abs())


def test_wind_speed_follows_from_vorticity_and_divergence():
    grid = GRIDS[0]
    state = {"vorticity": 2 * U / A * sine(grid), "divergence": torch.zeros(grid.shape)}
    found = derive(state, grid, "wind_speed")
    assert found.keys() - state.keys() == {"wind_speed"}  # the winds themselves are not written
    torch.testing.assert_close(found["wind_speed"], U * cosine(grid), rtol=0, atol=1e-9)
    both = derive(state, grid, "wind_speed", "winds")
    assert both.keys() - state.keys() == {"eastward_wind", "northward_wind", "wind_speed"}


def test_vorticity_and_divergence_follow_from_winds():
    grid = GRIDS[0]
    u, v = torch.randn(2, *grid.shape, generator=torch.Generator().manual_seed(2)).double()
    found = derive({"u850": u, "v850": v}, grid, "vorticity")
    expected = vorticity_divergence(u, v, grid)
    torch.testing.assert_close(found["vo850"], expected[0])
    torch.testing.assert_close(found["d850"], expected[1])


def test_the_wind_at_10_m_is_not_on_10_hpa():
    grid = GRIDS[0]
    zeros = torch.zeros(grid.shape)
    with pytest.raises(ValueError, match="vorticity does not follow from a forecast of u10, v10"):
        derive({"u10": zeros, "v10": zeros}, grid, "vorticity")


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("winds", "pairs of vorticity and divergence"),
        ("vorticity", "pairs of winds"),
        ("wind_speed", "winds"),
        ("geostrophic_wind", "a geopotential"),
        ("potential_vorticity", "three levels"),
    ],
)
def test_missing_inputs_are_named_with_what_would_be_needed(name, needs):
    with pytest.raises(ValueError, match=f"{name} does not follow.*t2m.*{needs}.*--derive {name}"):
        OutputFields([variable("t2m"), variable("vo500")], Sphere(GRIDS[0]), [name])


def test_an_unknown_derived_field_names_the_nearest():
    with pytest.raises(ValueError, match=r"'wind'; expected one of winds, .*nearest: winds"):
        OutputFields([variable("t2m")], Sphere(GRIDS[0]), ["wind"])


def test_chosen_variables_are_written_in_the_order_of_the_channels():
    grid = GRIDS[0]
    state = {name: torch.full(grid.shape, float(i)) for i, name in enumerate(("t2m", "msl", "tp"))}
    found = derive(state, grid, variables=("tp", "t2m"))
    assert list(found) == ["t2m", "tp"]
    assert (found["t2m"] == 0).all()
    assert (found["tp"] == 2).all()


def test_an_unknown_variable_names_the_nearest_and_what_can_be_derived():
    with pytest.raises(ValueError, match=r"'t2'.*has t2m, msl \(nearest: t2m\).*--derive: winds"):
        OutputFields([variable("t2m"), variable("msl")], Sphere(GRIDS[0]), variables=["t2"])


def test_a_mask_is_refused_where_the_whole_sphere_is_needed():
    grid = GRIDS[0]
    channels = [variable("u500"), variable("v500"), variable("t2m")]
    valid = torch.ones(3, *grid.shape, dtype=torch.bool)
    valid[1:, 3, 4] = False
    with pytest.raises(ValueError, match="v500 has a mask, and vo500 and d500 depend"):
        OutputFields(channels, Sphere(grid), ["vorticity"], valid=valid)
    assert OutputFields(channels, Sphere(grid), ["wind_speed"], valid=valid).derived
