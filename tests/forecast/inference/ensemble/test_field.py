"""Random perturbations: their statistics, and what they leave alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from configs.time.step import TimeStep
from configs.variables import variable
from data_prep.store.reader import Store
from forecast.inference.ensemble.amplitude import amplitudes
from forecast.inference.ensemble.kinds import PerturbationSpec
from forecast.inference.ensemble.perturbation import Perturbation, Setup
from forecast.inference.ensemble.sample import Sample
from forecast.model.normalizer import Normalizer
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean
from tests.forecast.inference.ensemble.conftest import setup_of

GRID = Grid.legendre_gauss(16, 32)
NAMES = ("z500", "q500", "geopotential", "si10")
"""Free, never negative, conserved, and diagnostic."""
STEP = torch.tensor([50.0, 1e-4, 20.0, 1.0])
TIME = np.array(["2001-01-01"], dtype="datetime64[ns]")


def setup(names: tuple[str, ...] = NAMES, grid: Grid = GRID) -> Setup:
    step, n = TimeStep.parse("6h"), len(names)
    normalizer = Normalizer(torch.zeros(n), 10 * STEP[:n], STEP[:n], step)
    return Setup(grid, tuple(variable(name) for name in names), step, normalizer)


def build(text: str, *, number: int = 0, of: Setup | None = None) -> Perturbation:
    return PerturbationSpec(text).build(of or setup(), number)


def members(count: int) -> list[Sample]:
    return [Sample(0, member, 0, (1, 978307200, member)) for member in range(count)]


def states(count: int, value: float = 1.0, n_history: int = 0) -> State:
    fields = torch.full((count, len(NAMES), *GRID.shape), value)
    return State(fields, TIME.repeat(count), (fields,) * n_history)


def test_the_spread_of_members_is_the_amplitude_times_the_step():
    found = build("field:amplitude=0.5,amplitude.geopotential=0.1,length=2000km")
    perturbed = found.perturb(states(400, 10.0), members(400), None).fields - 10.0
    std = area_mean(perturbed.square().mean(0), GRID).sqrt()
    # 400 members of some tens of degrees of freedom each: 2 % is more than three standard errors.
    assert std[0].item() == pytest.approx(25.0, rel=0.02)
    assert std[1].item() == pytest.approx(5e-5, rel=0.02)
    assert std[2].item() == pytest.approx(2.0, rel=0.02)


def test_the_correlation_falls_with_distance_as_the_length_says():
    found = build("field:length=1000km,channels=z500")
    fields = found.perturb(states(2000), members(2000), None).fields[:, 0] - 1.0
    row = GRID.nlat // 2
    angle = math.radians(360 / GRID.nlon) * math.sin(float(GRID.colatitude[row]))
    correlation = torch.corrcoef(fields[:, row, :3].T)[0]
    for steps in (1, 2):
        expected = math.exp(-((steps * angle * 6371.22 / 1000) ** 2) / 2)
        # Standard error 1/sqrt(2000); the grid cuts the series of degrees off at 16.
        assert correlation[steps].item() == pytest.approx(expected, abs=0.07)


def test_area_means_of_conserved_channels_stay_and_others_do_not():
    before, samples = states(3), members(3)
    for text, kept in (("", [False, True]), (",means=all", [True, True])):
        perturbed = build(f"field:length=8000km,amplitude=1{text}").perturb(before, samples, None)
        change = area_mean(perturbed.fields - before.fields, GRID)[:, [0, 2]]  # z500, geopotential
        assert (change.abs() < 1e-5 * STEP[[0, 2]]).all(0).tolist() == kept


def test_the_mean_over_the_valid_points_of_a_masked_conserved_channel_stays():
    before = states(2)
    before.fields[:, 2, :5] = torch.nan
    perturbed = build("field:length=3000km").perturb(before, members(2), None)
    assert perturbed.fields.isnan().equal(before.fields.isnan())
    change = (perturbed.fields - before.fields)[:, 2].nan_to_num()
    assert change.abs().max() > 1 and area_mean(change, GRID).abs().max() < 1e-5


def test_channels_that_are_never_negative_stay_so_without_a_bias():
    before, count = states(500, 2e-5), 500
    perturbed = build("field:amplitude=1").perturb(before, members(count), None).fields[:, 1]
    assert perturbed.min() >= 0 and (perturbed == 0).any()
    # The difference lies between -2e-5 and 2e-5; standard error below 2e-5 / sqrt(500).
    assert perturbed.mean().item() == pytest.approx(2e-5, abs=2e-6)


def test_diagnostic_and_unnamed_channels_stay_and_history_gets_the_same_difference():
    before = states(2, n_history=2)
    perturbed = build("field:channels=z500").perturb(before, members(2), None)
    assert perturbed.fields[:, 1:].equal(before.fields[:, 1:])
    for part in perturbed.history:
        assert part.equal(perturbed.fields)
    everything = build("field").perturb(before, members(2), None)
    assert everything.fields[:, 3].equal(before.fields[:, 3])
    assert not everything.fields[:, 2].equal(before.fields[:, 2])


def test_a_common_pattern_is_the_same_in_all_channels_and_pairs_are_opposite():
    perturbed = build("field:pattern=common,means=all,channels=z500+geopotential")
    change = perturbed.difference(members(2)) / (0.1 * STEP[:, None, None])
    torch.testing.assert_close(change[:, 0], change[:, 2], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(change[0], change[1], atol=0.1)
    pairs = build("field:pairs=yes").difference(members(4))
    assert pairs[0].equal(-pairs[1]) and pairs[2].equal(-pairs[3])
    assert not torch.allclose(pairs[0], pairs[2])


def test_a_difference_depends_on_seed_time_trajectory_member_number_and_channel_alone():
    found = build("field")
    one = found.difference(members(1))[0]
    torch.testing.assert_close(found.difference(members(5))[0], one, rtol=1e-5, atol=1e-4)
    other = [build("field", number=1).difference(members(1))[0]]
    for place in range(4):
        seed = [1, 978307200, 0, 0]
        seed[place] += 1
        other.append(found.difference([Sample(0, 0, 0, tuple(seed))])[0])
    assert all(not torch.allclose(x[0], one[0]) for x in other)
    assert not torch.allclose(one[0] / STEP[0], one[1] / STEP[1])


def test_sizes_are_those_of_steps_of_states_of_units_and_of_differences_of_analyses(
    make_store, tmp_path, series
):
    def of(text: str, where: Setup) -> list[float]:
        return amplitudes(PerturbationSpec(f"field:{text}").values, where).flatten().tolist()

    assert of("amplitude=1,scale=std", setup())[:2] == pytest.approx([500.0, 1e-3])
    assert of("amplitude=0.5,scale.q500=2e-3", setup())[:2] == pytest.approx([25.0, 1e-3])
    make_store(tmp_path / "other.zarr", "files", mask=True, seed=1)
    where, other = setup_of(series), Store(tmp_path / "other.zarr")
    assert where.store is not None
    difference = torch.stack([where.store.state(i) - other.state(i) for i in range(48)]).double()
    weights = where.grid.area_weights * difference.isfinite()
    expected = (weights * difference.nan_to_num() ** 2).sum((0, 2, 3)) / weights.sum((0, 2, 3))
    found = of(f"amplitude=1,scale={other.path}", where)
    np.testing.assert_allclose(found, expected.sqrt().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("field:channels=z850", "channels names 'z850'; expected one of the channels that are fed"),
        ("field:channels=si10", "names 'si10'; expected one of the channels .* z500, q500, geo"),
        ("field:amplitude.u=1", "amplitude.CHANNEL names 'u'; expected one of the channels"),
        ("field:scale=steps", "scale is 'steps'; expected step, std or the path of a store"),
        ("bred", "bred vectors need states before the initial one"),
        ("lagged", "lagged members need states before the initial one"),
        ("balanced", "balanced perturbation of z500, q500, geopotential; expected the channels"),
    ],
)
def test_perturbations_that_do_not_fit_the_model_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        build(text)


def test_a_model_without_channels_that_are_fed_back_is_refused():
    with pytest.raises(ValueError, match="no channel is perturbed: none that is fed back has an"):
        build("field", of=setup(("si10",)))


def test_intervals_are_multiples_of_the_time_step(series):
    step = Store(series).time_step
    with pytest.raises(ValueError, match="interval is 1d, which is no multiple of the time step"):
        PerturbationSpec("lagged:interval=1d").lag(step, 1)
    lagged = PerturbationSpec("lagged:interval=2mo")
    assert [lagged.lag(step, member) for member in range(3)] == [0, 2, 4]
    assert PerturbationSpec("bred:cycles=3,interval=2mo").n_earlier(step) == 6
