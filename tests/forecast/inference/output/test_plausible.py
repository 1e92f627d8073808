"""Plausible ranges, and the first value of a forecast that leaves them."""

from __future__ import annotations

import pytest
import torch

from configs.model import ModelConfig
from data_prep.store.reader import Store
from forecast.inference.output.plausible import Limits, StateCheck, plausible_limits
from forecast.model.forecaster import Forecaster
from forecast.training.processes import all_processes
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current
from tests.ranks import run

GRID = Grid("cell-centred", 9, 12, 15.0)
LIMITS = Limits(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 5.0]))
MODEL = ModelConfig(channels=4, blocks=1, branches={"spectral": {"lmax": 4}})


def test_the_range_of_the_training_split_is_widened_by_itself(make_store, tmp_path):
    store = Store(make_store(tmp_path / "s.zarr"))
    model = Forecaster.from_store(MODEL, store)
    fields = torch.cat([store.states(i, 0, len(store.time)) for i in store.split_indices("train")])
    least, most = fields.amin((0, 2, 3)), fields.amax((0, 2, 3))
    limits = plausible_limits(model, store)
    torch.testing.assert_close(limits.low, 2 * least - most)
    torch.testing.assert_close(limits.high, 2 * most - least)


@pytest.mark.parametrize("baseline", ["mean", "climatology"])
def test_without_extremes_the_range_is_20_standard_deviations(make_store, tmp_path, baseline):
    store = Store(make_store(tmp_path / "s.zarr", "files"))
    model = Forecaster.from_store(MODEL.model_copy(update={"baseline": baseline}), store)
    for name in ("minimum", "maximum"):
        del store.statistics[name]
    limits, of = plausible_limits(model, store), model.normalizer
    least = most = of.mean
    if baseline == "climatology":
        least, most = of.climatology.amin((0, 2, 3)), of.climatology.amax((0, 2, 3))
    torch.testing.assert_close(limits.low, least - 20 * of.std)
    torch.testing.assert_close(limits.high, most + 20 * of.std)


def found_on(latitude: int):
    """Return what a rank of a mesh finds in three states of five forecasts, one after the other."""
    with all_processes(latitude):
        valid = torch.ones(2, *GRID.shape, dtype=torch.bool)
        valid[1, 2, 2] = False
        state = torch.full((5, 2, *GRID.shape), 0.5)
        own, rows = range(5)[current().data.part(5)], own_rows(GRID)
        check = StateCheck(LIMITS, GRID, own, 5, valid[:, rows])
        found = []
        for changes in (
            {(2, 1, 2, 2): -3.0},  # outside the mask
            {(1, 1, 6, 3): 7.5, (1, 1, 7, 0): -9.0, (3, 0, 8, 11): -2.0, (4, 1, 1, 1): torch.nan},
            {(1, 0, 0, 0): torch.inf, (3, 1, 4, 4): 99.0, (0, 0, 5, 5): 1.5},
        ):
            for where, value in changes.items():
                state[where] = value
            found.append(check(state[own.start : own.stop, :, rows]))
    return [
        tuple({i: (f.channel, f.place, f.value) for i, f in kind.items()} for kind in kinds)
        for kinds in found
    ]


NAN = (1, "60 N 45 E")
EXPECTED = [
    {1: (1, "40 S 105 E", 7.5), 3: (0, "80 S 345 E", -2.0)},
    {0: (0, "20 S 165 E", 1.5)},  # forecast 3 was reported before
]


def check_found(latitude: int) -> None:
    first, second, third = found_on(latitude)
    assert first == ({}, {})
    assert {i: f[:2] for i, f in second[0].items()} == {4: NAN}
    assert second[1] == EXPECTED[0]
    assert {i: f[:2] for i, f in third[0].items()} == {1: (0, "80 N 15 E"), 4: NAN}
    assert third[1] == EXPECTED[1]


def test_the_first_implausible_value_of_a_forecast_is_found_once():
    check_found(1)


@pytest.mark.parallel
def test_all_processes_find_the_same_values():
    run(4, check_found, 2)
