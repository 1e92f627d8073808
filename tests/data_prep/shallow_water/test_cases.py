"""Cases of the solver: initial states, and allowed names and numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_prep.shallow_water.cases import CASES, Experiment
from data_prep.shallow_water.diagnostics import kinetic_energy_spectrum
from data_prep.shallow_water.equations import DIVERGENCE, GEOPOTENTIAL, VORTICITY
from data_prep.shallow_water.forced_climate import Climate
from data_prep.solvers.time_stepping import advance
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

DAY = 86400.0


@pytest.mark.parametrize("name", CASES)
def test_every_case_runs_for_two_hours(name: str) -> None:
    experiment = Experiment(name, {}, 22)
    state = experiment.initial_state(3)[None]
    end = advance(experiment.solver, state, 0.0, 7200.0, None)
    assert end.isfinite().all()
    assert experiment.solver.wind(end).abs().max() < 150
    assert (end[0, GEOPOTENTIAL, 0, 0] - state[0, GEOPOTENTIAL, 0, 0]).abs() < 1e-9


def test_a_seed_makes_the_same_state_at_every_truncation() -> None:
    coarse, fine = (Experiment("random", {}, lmax).initial_state(7) for lmax in (11, 22))
    assert torch.equal(coarse, fine[:, :11, :11])
    assert not torch.equal(coarse, Experiment("random", {}, 11).initial_state(8))


def test_random_states_have_the_spectrum_of_their_coefficients() -> None:
    """Compare with the variance 4π/(L(L+1)) (mach c / a)² of each coefficient of vorticity."""
    experiment = Experiment("random", {"mach": 0.3, "cutoff": 20.0}, 32)
    planet, depth = experiment.solver.physics.planet, experiment.solver.physics.mean_geopotential
    states = torch.stack([experiment.initial_state(seed) for seed in range(200)])
    power = states[:, VORTICITY, 5, 1:6].abs().square().mean()
    expected = 4 * math.pi / (20 * 21) * (0.3 * math.sqrt(depth) / planet.radius) ** 2
    assert float(power) == pytest.approx(expected, rel=0.1)
    assert states[:, :, 20:].abs().max() == 0
    assert states[:, :, :, 0].imag.abs().max() == 0


def test_balanced_states_start_without_divergence_and_stay_nearly_so() -> None:
    balanced = Experiment("random_balanced", {"mach": 2.0, "cutoff": 12.0}, 22)
    free = Experiment("random", {"mach": 2.0, "cutoff": 12.0}, 22)
    ends = []
    for experiment in (balanced, free):
        state = experiment.initial_state(0)[None]
        end = advance(experiment.solver, state, 0.0, 6 * 3600.0, None)
        ends.append(float(end[:, DIVERGENCE].norm() / end[:, VORTICITY].norm()))
    assert balanced.initial_state(0)[DIVERGENCE].abs().max() == 0
    assert ends[0] < 0.1 * ends[1]


@pytest.mark.parametrize("alpha", [0.0, 30.0])
def test_solid_rotation_has_its_wind(alpha: float) -> None:
    """Compare with u = u₀ (cos φ cos α + sin φ cos λ sin α), v = −u₀ sin λ sin α."""
    experiment = Experiment("williamson2", {"alpha": alpha}, 22)
    solver = experiment.solver
    east, north = solver.wind(experiment.initial_state(0))
    latitude = torch.deg2rad(solver.grid.latitude)[:, None]
    longitude = torch.deg2rad(solver.grid.longitude)[None, :]
    a, speed = math.radians(alpha), experiment.values["wind"]
    expected = speed * (
        torch.cos(latitude) * math.cos(a) + torch.sin(latitude) * torch.cos(longitude) * math.sin(a)
    )
    assert torch.allclose(east, expected, atol=1e-9)
    assert torch.allclose(
        north, (-speed * torch.sin(longitude) * math.sin(a)).expand_as(north), atol=1e-9
    )


def test_a_deep_rossby_haurwitz_wave_travels_as_haurwitz_says() -> None:
    """Compare in the limit of a deep layer; in one of 8 km it is 7 % slower (see docs)."""
    experiment = Experiment("williamson6", {"mean_height": 8e5}, 22)
    state = experiment.initial_state(0)[None]
    end = experiment.solver.advance(state, 0.0, DAY / 4, 24)
    turned = end[0, VORTICITY, 5, 4] / state[0, VORTICITY, 5, 4]
    speed = -float(turned.angle()) / (4 * DAY / 4)
    r, w, rotation = 4, 7.848e-6, 7.292e-5
    theory = (r * (3 + r) * w - 2 * rotation) / ((1 + r) * (2 + r))
    assert speed == pytest.approx(theory, rel=0.01)


def test_the_jet_is_galewskys() -> None:
    """Check 80 m/s at 45° N, 0 south of π/7 and north of 5π/14, and a mean depth of 10 km."""
    experiment = Experiment("galewsky", {}, 86)
    solver, state = experiment.solver, experiment.initial_state(0)
    wind = solver.wind(state)[0, :, 0]
    latitude = solver.grid.latitude
    assert float(wind.max()) == pytest.approx(80, rel=0.01)
    assert float(latitude[wind.argmax()]) == pytest.approx(45, abs=1.5)
    outside = (latitude < 180 / 7 - 2) | (latitude > 90 - 180 / 7 + 2)
    assert wind[outside].abs().max() < 0.05
    flat = Experiment("galewsky", {"bump_height": 0.0}, 86).initial_state(0)
    bump = solver.on_grid((state - flat)[GEOPOTENTIAL]) / 9.80616
    assert float(bump.max()) == pytest.approx(120 * math.cos(math.radians(45)), rel=0.05)
    assert float(area_mean(solver.layer(flat), solver.grid)) == pytest.approx(9.80616e4)


def test_parameters_with_a_spread_differ_between_seeds_only() -> None:
    values = {"bump_latitude": 40.0, "bump_latitude_spread": 10.0}
    experiment = Experiment("galewsky", values, 22)
    states = [experiment.initial_state(seed) for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert torch.equal(states[0][VORTICITY], states[2][VORTICITY])
    assert experiment.varies
    assert not Experiment("galewsky", {}, 22).varies


def test_a_jet_in_the_south_is_the_mirror_image_of_one_in_the_north() -> None:
    values = {"jet_latitude": 40.0, "bump_latitude": 38.0}
    north = Experiment("galewsky", values, 43)
    south = Experiment("galewsky", {key: -value for key, value in values.items()}, 43)
    of_north, of_south = (e.solver.on_grid(e.initial_state(0)) for e in (north, south))
    sign = torch.tensor([-1.0, 1.0, 1.0])[:, None, None]  # vorticity turns the other way
    mirrored = sign * of_north.flip(-2)
    largest = of_north.abs().amax((-2, -1), keepdim=True).clamp(min=1e-12)
    assert ((of_south - mirrored) / largest).abs().max() < 1e-10
    with pytest.raises(ValueError, match="jet_latitude 80 puts the jet, 38.6° wide, on the equ"):
        Experiment("galewsky", {"jet_latitude": 80.0}, 22).initial_state(0)


def test_a_jet_moves_with_its_latitude() -> None:
    latitude = Experiment("galewsky", {}, 86).solver.grid.latitude
    row = int((latitude - 35).abs().argmin())  # the maximum is on a row of the grid
    values = {"jet_latitude": float(latitude[row]), "bump_height": 0.0}
    there = Experiment("galewsky", values, 86)
    wind = there.solver.wind(there.initial_state(0))[0, :, 0]
    assert int(wind.argmax()) == row
    assert float(wind[row]) == pytest.approx(80, rel=1e-3)


def test_the_climate_keeps_mass_and_its_jets_follow_the_seasons() -> None:
    experiment = Experiment("forced", {}, 22)
    solver = experiment.solver
    climate = solver.physics.forcing
    assert isinstance(climate, Climate)
    december, june = (climate.target((d - 10) * DAY) for d in (0.0, 182.6))
    ratio = solver.wind(december[None])[0, 0].amax(dim=-1) / solver.wind(june[None])[0, 0].amax(
        dim=-1
    )
    assert float(ratio[solver.grid.latitude > 30][:5].mean()) > 1
    assert climate(1e6)[GEOPOTENTIAL, 0, 0] == 0
    # The jets in balance over the mountains, without eddies and heating, are steady but for waves.
    state = experiment.initial_state(0)[None]
    end = advance(solver, state, 0.0, DAY, None)
    assert end[0, GEOPOTENTIAL, 0, 0] == state[0, GEOPOTENTIAL, 0, 0]


def test_sunlight_heats_where_it_is_noon() -> None:
    experiment = Experiment("forced", {"jet_speed": 0.0}, 22)
    climate = experiment.solver.physics.forcing
    assert isinstance(climate, Climate)
    heating = climate(0.5 * DAY)  # noon at 0° E
    heating[:, :, 0] = 0
    field = experiment.solver.on_grid(heating[GEOPOTENTIAL])
    row = field[experiment.solver.grid.nlat // 2]
    longitude = float(experiment.solver.grid.longitude[row.argmax()])
    assert min(longitude, 360 - longitude) < 15
    # daily_heating is the height gained in a day by one global mean of insolation.
    assert float(row.max() - row.min()) == pytest.approx(
        9.80616 * 50 / DAY * math.pi * 1.25, rel=0.25
    )


def test_the_spectrum_sums_to_the_kinetic_energy() -> None:
    experiment = Experiment("galewsky", {}, 43)
    state = experiment.initial_state(0)
    wind = experiment.solver.wind(state)
    mean = area_mean(wind.square().sum(dim=0) / 2, experiment.solver.grid)
    spectrum = kinetic_energy_spectrum(experiment.solver, state)
    assert float(spectrum.sum()) == pytest.approx(float(mean), rel=1e-10)


def orography(path: Path, grid: Grid, **changes: object) -> Path:
    """File with one broad mountain, south first, with longitudes from 180 W."""
    latitude = grid.latitude.numpy()[::-1]
    longitude = np.sort((grid.longitude.numpy() + 180) % 360 - 180)
    height = 2000 * np.exp(-(((latitude[:, None] - 40) / 15) ** 2) - ((longitude - 90) / 20) ** 2)
    data = xr.Dataset(
        {"orography": (("latitude", "longitude"), height - 100, {"units": "m"})},
        {"latitude": latitude, "longitude": longitude},
    ).assign(**changes)
    data.to_netcdf(path)
    return path


def test_orography_comes_from_a_file_on_any_global_grid(tmp_path: Path) -> None:
    path = orography(tmp_path / "relief.nc", Grid.cell_centred(90, 180))
    experiment = Experiment("random_balanced", {"mach": 0.1}, 32, orography=str(path))
    physics, grid = experiment.solver.physics, experiment.solver.grid
    assert physics.orography is not None
    height = experiment.solver.on_grid(physics.orography) / physics.planet.gravity
    row, column = divmod(int(height.argmax()), grid.nlon)
    assert float(height.max()) == pytest.approx(1900, rel=0.05)
    assert float(grid.latitude[row]) == pytest.approx(40, abs=4)
    assert float(grid.longitude[column]) == pytest.approx(90, abs=4)
    # The surface of the sea stays where it was: the layer is thinner over the mountain.
    layer = experiment.solver.layer(experiment.initial_state(0)) / physics.planet.gravity
    assert float(layer[row, column]) == pytest.approx(1e4 - 1900, rel=0.02)
    assert float(area_mean(layer + height, grid)) == pytest.approx(1e4)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("galewski", {}, "did you mean galewsky"),
        ("random", {"mack": 0.1}, "did you mean mach"),
        ("random", {"mach": math.nan}, "expected a finite number"),
        ("random", {"cutoff": 2.5}, "whole number of degrees"),
        ("random", {"mean_height": -1.0}, "positive depth"),
        ("random", {"hyperdiffusion_power": 6.0}, "power of ∇ of 4 or 8"),
        ("random", {"hyperdiffusion_hours": -1.0}, "at least 0"),
        ("random", {"radius": 0.0}, "positive number"),
        ("williamson6", {"wavenumber": 20.0}, "resolves"),
        ("forced", {"drag_days": 0.0}, "positive number of days"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Experiment(name, values, 22).initial_state(0)
    assert "\n" not in str(error.value)


def test_orography_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    regional = orography(tmp_path / "regional.nc", Grid.cell_centred(90, 180))
    with xr.open_dataset(regional) as data:
        data.isel(longitude=slice(0, 60)).to_netcdf(tmp_path / "cut.nc")
        data.rename(orography="depth").to_netcdf(tmp_path / "other.nc")
        for name, attrs in (("units.nc", {"units": "K"}), ("unitless.nc", {})):
            height = (data.orography.dims, data.orography.values, attrs)
            data.assign(orography=height).to_netcdf(tmp_path / name)
        data.assign(topo=data.orography).to_netcdf(tmp_path / "twice.nc")
        data.expand_dims(layer=3).to_netcdf(tmp_path / "layers.nc")
    for path, message in (
        (tmp_path / "none.nc", "does not exist"),
        (tmp_path / "cut.nc", "do not go once round"),
        (tmp_path / "other.nc", "has no orography"),
        (tmp_path / "units.nc", "'K' cannot be converted to 'm'; the solver reads one field"),
        (tmp_path / "unitless.nc", "the solver reads one field of heights"),
        (tmp_path / "twice.nc", "could be any of orography, topo; the solver reads one field"),
        (tmp_path / "layers.nc", "it has 3 values along layer; the solver reads one field"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            Experiment("random", {}, 22, orography=str(path))
        assert str(path) in str(error.value)
        assert "data." not in str(error.value)  # no settings of `forecast data ingest`
    with pytest.raises(ValueError, match="takes no orography"):
        Experiment("williamson2", {}, 22, orography=str(regional))
