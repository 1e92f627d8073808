"""Ablation on a tiny store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy import ablation
from benchmarks.accuracy.ablation import prepare
from benchmarks.accuracy.ablation_errors import measure, persistence, relative_l2, transfer
from benchmarks.accuracy.ablation_variants import Task, Variant
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from forecast.training.batches import Store

TINY = Task(
    nlat=12,
    lmax=8,
    test=2,
    long=30,
    extra=(
        "data.trajectories={train: 2, validation: 0, test: 2}",
        "data.n_steps=6",
        "model.channels=4",
        "model.blocks=1",
        "training.steps=3",
        "training.rollout_steps=2",
        "training.rollout_from=0.4",
    ),
)
VARIANT = Variant("one", 0.5, ("integral",))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(tmp_path_factory.mktemp("task") / "store", TINY)


@pytest.fixture
def untrained(store: Store) -> Forecaster:
    """Return a forecaster whose last layer is zero, which is persistence."""
    return Forecaster.from_store(VARIANT.config(TINY).model, store)


def test_the_error_of_persistence_is_its_definition(store: Store, untrained: Forecaster) -> None:
    states = torch.stack([store.states(i, 0, 7) for i in store.split_indices("test")]).double()
    mean, std = (store.statistics[k][:, None, None] for k in ("mean", "std"))
    scaled, area = (states - mean) / std, store.grid.area_weights
    difference = ((scaled[:, 0] - scaled[:, 5]) ** 2 * area).sum((-2, -1)).sqrt()
    expected = (difference / (scaled[:, 5] ** 2 * area).sum((-2, -1)).sqrt()).mean()
    assert persistence(store)[4] == pytest.approx(float(expected), rel=1e-6)
    found = measure(untrained, store, 8, 4)
    assert found["errors"][4] == pytest.approx(float(expected), rel=1e-4)  # float32 states
    assert len(found["errors"]) == len(persistence(store)) == 6
    assert found["leaves"] is None


def test_a_forecast_that_grows_leaves_the_range_of_the_truth(
    store: Store, untrained: Forecaster
) -> None:
    def growing(state: State) -> State:
        factors = torch.tensor([1.0, 1.1, 1.1])[:, None, None]
        return state.advance(state.fields * factors, store.time_step.advance(state.time))

    untrained.step = growing  # type: ignore[method-assign]
    leaves = measure(untrained, store, 40, 4)["leaves"]
    assert 3 <= leaves <= 20  # by when 1.1ⁿ takes some value twice as far from the middle


def test_the_truth_has_no_error(store: Store, untrained: Forecaster) -> None:
    state = store.states(0, 0, 1)
    assert float(relative_l2(untrained.normalizer, store.grid, state, state)) == 0


def test_the_change_of_the_truth_is_the_same_on_a_finer_grid(
    store: Store, untrained: Forecaster
) -> None:
    ratios = transfer(untrained, store)
    assert set(ratios) == {"24×48", "6×12", "24×48, fields", "6×12, fields"}
    # The quadrature of both is exact for squares of what the fields hold.
    for way in ("24×48", "24×48, fields"):
        assert ratios[way] == pytest.approx(1, abs=1e-3)


def test_runs_are_reproducible_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "FULL", TINY)
    monkeypatch.setattr(ablation, "SETS", {"ablation": lambda: [VARIANT]})
    saved, unchanged = [], []
    for name in ("first", "second", "first"):
        out = tmp_path / f"{name}.json"
        arguments = ["ablation", "--data", str(tmp_path / "store"), "--json", str(out)]
        monkeypatch.setattr("sys.argv", [*arguments, "--seeds", "3", "--device", "cpu"])
        ablation.main()
        content = json.loads(out.read_text())
        saved.append(content["runs"])
        unchanged.append(content["persistence"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == [*["persistence", "one"] * 2, "persistence"]
    assert unchanged[0] == unchanged[2] == persistence(Store(tmp_path / "store"))
    assert len(saved[0]) == 1 and saved[0][0]["seed"] == 3
    assert saved[0][0]["errors"] == saved[1][0]["errors"]
    assert saved[0] == saved[2]
