"""Experiments and rows: their data, their configurations, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy.records import digest
from benchmarks.accuracy.study.__main__ import QUICK_ROWS
from benchmarks.accuracy.study.experiments import (
    EXPERIMENTS,
    STRONG,
    WEAK,
    Experiment,
    prepare,
)
from benchmarks.accuracy.study.rows import CLAIM, LOCAL, row
from benchmarks.speed.training import NAMES
from data_prep.store.reader import Store
from forecast.model.build import build_network


def test_forecasts_are_validated_on_the_trajectories_of_the_training(
    stores: dict[str, Store],
) -> None:
    (in_training,) = stores["train"].split_indices("validation")
    expected = stores["train"].states(int(in_training), 0, 3)
    for part, count in (("validation", 3), ("validation-long", 1)):
        (own,) = stores[part].split_indices("validation")
        torch.testing.assert_close(stores[part].states(int(own), 0, count), expected[:count])


def test_the_truth_of_long_rollouts_has_every_nth_state(
    tiny: Experiment, stores: dict[str, Store]
) -> None:
    short, long = (
        store.states(int(store.split_indices("validation")[0]), 0, len(store.time))
        for store in (stores["validation"], stores["validation-long"])
    )
    assert tiny.long_every == 2 and len(long) == 1 + tiny.long // 2
    area = stores["train"].grid.area_weights
    # The solver chooses its steps for the interval, which changes its error.
    for channel in range(3):
        difference = ((long[1] - short[2])[channel].square() * area).sum().sqrt()
        change = ((short[2] - short[0])[channel].square() * area).sum().sqrt()
        assert difference < 1e-2 * change


def test_the_test_set_has_a_seed_of_its_own() -> None:
    seeds = [WEAK.test_seed, STRONG.test_seed]
    for experiment in (WEAK, STRONG):
        train, validation, test = (
            experiment.data(part) for part in ("train", "validation", "test")
        )
        assert train.seed == validation.seed == 0
        assert test.seed == experiment.data("test-long").seed == experiment.test_seed != 0
        assert (test.trajectories.validation, test.trajectories.test) == (0, 24)
        assert train.trajectories.train * train.n_steps == 1200
    assert len(set(seeds)) == 2


def test_the_strong_flow_has_ten_times_the_winds_and_heights_of_the_weak_one() -> None:
    weak, strong = (e.data("train").cases[0].parameters for e in (WEAK, STRONG))
    assert strong == {"mach": 2.0, "height_amplitude": 1200.0}
    assert weak == {"mach": 0.2, "height_amplitude": 120.0}
    assert STRONG.data("train").spin_up == "1d"


def test_a_store_of_another_experiment_is_refused(
    tiny: Experiment, tiny_folder: Path, stores: dict[str, Store]
) -> None:
    other = replace(tiny, name="other", seed=3)
    with pytest.raises(ValueError, match=r"not the store of experiment other.* seed \(0, exp"):
        prepare(other, "train", tiny_folder)


def test_the_digest_depends_on_the_fields(stores: dict[str, Store]) -> None:
    assert digest(stores["train"]) == digest(Store(stores["train"].path))
    assert len({digest(store) for store in stores.values()}) == 3


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
@pytest.mark.parametrize("name", [*CLAIM, *QUICK_ROWS, *NAMES, "0 both", "64 both, other grids"])
def test_every_row_has_a_configuration(name: str, experiment: Experiment) -> None:
    config = row(name).config(experiment, seed=7, rate=0.003)
    assert config.training.seed == 7 and config.training.learning_rate == 0.003
    present = set(config.model.branches.model_dump(exclude_none=True))
    local = name.split(",")[0].partition(" ")[2] or "none"
    assert {"integral", "differential"} - present == set(LOCAL[local])


def test_names_say_what_differs() -> None:
    plain, changed = (row(n).config(HALF := EXPERIMENTS["half"]) for n in
                      ("16 both", "32 none, complex, winds"))  # fmt: skip
    assert HALF.nlat == 32
    assert plain.model.branches.spectral is not None and plain.model.branches.spectral.lmax == 8
    assert plain.model.branches.integral is not None
    assert plain.model.branches.integral.theta_cutoff == 0.3
    assert changed.model.branches.spectral is not None
    assert changed.model.branches.spectral.complex and changed.model.branches.spectral.lmax == 16
    assert len(changed.data.variables) == 5 and len(plain.data.variables) == 3
    assert row("0 differential").config(HALF).model.branches.spectral is None
    assert row("sfno").build is not build_network and len(row("sfno").rates) >= 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("64 all", "there is no row '64 all'; a name begins with one of sfno, lsno, or"),
        ("0 none", "there is no row '0 none'"),
        ("64 both, wide", "row '64 both, wide' has no option 'wide'; it may have longitude,"),
        ("sfno, complex", "row 'sfno, complex' has no option 'complex'"),
        ("64 none, second order", "has an option of its differential branch, and no such one"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(name)
