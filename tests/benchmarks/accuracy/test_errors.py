"""Errors of forecasts and long rollouts on a tiny experiment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.accuracy.study.errors import (
    RelativeL2,
    forecast_errors,
    long_rollout,
    model_steps,
    transfer,
    truth_of,
    vorticity_correlation,
)
from benchmarks.accuracy.study.experiments import CHANNELS, Experiment
from benchmarks.accuracy.study.rows import row
from data_prep.store.reader import Store
from forecast.model.forecaster import Forecaster
from forecast.model.state import State


@pytest.fixture
def untrained(tiny: Experiment, stores: dict[str, Store]) -> Forecaster:
    """Return a forecaster whose last layer is zero, which is persistence."""
    config = row("64 differential").config(tiny)
    store = stores["train"].select(channels=config.data.variables)
    forecaster = Forecaster.from_store(config.model, store).eval()
    forecaster.limiter = None  # two trajectories of training are no limit for others
    return forecaster


def test_the_error_of_an_untrained_model_is_that_of_persistence_by_definition(
    tiny: Experiment, stores: dict[str, Store], untrained: Forecaster
) -> None:
    store, train = stores["validation"], stores["train"]
    whole = truth_of(store, "validation")
    states = whole.scored.double()
    mean, std = (train.statistics[k][:3, None, None] for k in ("mean", "std"))
    scaled, area = (states - mean) / std, store.grid.area_weights
    difference = ((scaled[:, 0] - scaled[:, 2]) ** 2 * area).sum((-2, -1)).sqrt()
    expected = (difference / (scaled[:, 2] ** 2 * area).sum((-2, -1)).sqrt()).mean(-1)
    found = forecast_errors(
        model_steps(untrained, whole, 2), states, RelativeL2.from_store(train), tiny
    )
    assert found["errors"][1] == pytest.approx(expected.tolist(), rel=1e-4)  # float32 states
    assert len(found["errors"]) == 2 and found["seconds_per_day"] > 0


def test_the_truth_has_no_error(stores: dict[str, Store]) -> None:
    truth = truth_of(stores["validation"], "validation").scored
    error = RelativeL2.from_store(stores["train"])
    assert error(truth[:, 0], truth[:, 0]).tolist() == [0]


def test_a_correlation_of_vorticity_sees_only_the_pattern_of_vorticity(
    stores: dict[str, Store],
) -> None:
    truth, grid = truth_of(stores["validation"], "validation").scored, stores["train"].grid
    start, after = truth[:, 0], truth[:, 2]
    changed = torch.randn_like(start)
    changed[:, 1] = 3 * start[:, 1] + 7e-6
    assert vorticity_correlation(changed, start, grid).item() == pytest.approx(1)
    assert vorticity_correlation(-changed, start, grid).item() == pytest.approx(-1)
    values = [x[0, 1].double().numpy().ravel() for x in (start, after)]
    weights = grid.area_weights.expand(grid.shape).numpy().ravel()
    expected = np.cov(*values, aweights=weights)
    found = vorticity_correlation(start, after, grid).item()
    assert found == pytest.approx(expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]))


def test_forecasts_start_at_every_nth_state(stores: dict[str, Store]) -> None:
    store = stores["train"]
    (index,) = store.split_indices("validation")
    for first, every, starts in ((0, 3, [0, 3]), (1, 2, [1, 3]), (2, None, [2])):
        truth = truth_of(store, "validation", n_steps=1, first=first, every=every)
        assert truth.fields.shape[:2] == (len(starts), 2) and truth.n_steps == 1
        np.testing.assert_array_equal(truth.init_time, store.time[starts])
        torch.testing.assert_close(truth.fields[-1], store.states(int(index), starts[-1], 2))
    assert truth_of(store, "validation", first=1).n_steps == len(store.time) - 2


def test_a_forecast_that_grows_leaves_the_range_of_the_truth(
    tiny: Experiment, stores: dict[str, Store], untrained: Forecaster
) -> None:
    store, error = stores["validation-long"], RelativeL2.from_store(stores["train"])
    found = long_rollout(untrained, store, "validation", error, tiny)
    assert found["leaves"] is None and len(found["sizes"]) == tiny.long // tiny.long_every

    def growing(state: State) -> State:
        factors = torch.tensor([1.0, 3.0, 3.0])[:, None, None]
        return state.advance(state.fields * factors, store.time_step.advance(state.time))

    untrained.step = growing  # type: ignore[method-assign]
    grown = long_rollout(untrained, store, "validation", error, tiny)
    assert 1 <= grown["leaves"] <= 2  # by when 3ⁿ takes some value twice as far from the middle
    ratios = [big / small for big, small in zip(grown["rms"], found["rms"], strict=True)]
    assert ratios == pytest.approx([1, 81, 81], rel=0.05)  # about the mean of the training data


def test_a_rollout_ends_when_it_is_not_finite(
    tiny: Experiment, stores: dict[str, Store], untrained: Forecaster
) -> None:
    def infinite(state: State) -> State:
        return state.advance(state.fields / 0, state.time)

    untrained.step = infinite  # type: ignore[method-assign]
    error = RelativeL2.from_store(stores["train"])
    found = long_rollout(untrained, stores["validation-long"], "validation", error, tiny)
    assert found["leaves"] == 1 and len(found["rms"]) == len(CHANNELS)
    assert all(value != value for value in found["rms"])


def test_the_change_of_the_truth_is_the_same_on_a_finer_grid(
    stores: dict[str, Store], untrained: Forecaster
) -> None:
    ratios = transfer(untrained, stores["validation"], "validation")
    assert set(ratios) == {"24×48", "6×12", "24×48, fields", "6×12, fields"}
    # The quadrature of both is exact for squares of what the fields hold.
    for way in ("24×48", "24×48, fields"):
        assert ratios[way] == pytest.approx(1, abs=1e-3)
