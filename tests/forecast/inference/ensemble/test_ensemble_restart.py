"""Ensembles that go on after an interruption, and members of models with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.ensemble.sample import Sample
from forecast.inference.forecast import run_rollout
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.state import State
from tests.forecast.inference.ensemble.conftest import make_forecaster

NOISE = {"length_scales": ["3000km", "8000km"], "correlation_time": "3h", "into": "first"}


@pytest.fixture(scope="module")
def noisy(store):
    return make_forecaster(store, noise=NOISE)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a state after every step."""
    monkeypatch.setattr("forecast.inference.writer._PAUSE", 0.0)
    monkeypatch.setattr("forecast.inference.writer._COSTS", 0)


def opened(path: Path) -> xr.Dataset:
    with xr.open_dataset(path) as file:
        del file.attrs["history"]
        return file.load()


@pytest.mark.parametrize("interrupted_at", [pytest.param(3, marks=pytest.mark.slow), 14])
def test_an_ensemble_goes_on_to_the_file_of_an_uninterrupted_one(
    store, noisy, tmp_path, monkeypatch, interrupted_at
):
    """Interrupt before a state is saved, and after; two models, one of them with noise."""
    models = [noisy, make_forecaster(store, seed=1)]
    options = {
        "split": "train",
        "members": 3,
        "perturbations": ["lagged", "field:amplitude=0.3", "bred:cycles=2,amplitude=0.2"],
        "seed": 11,
        "n_steps": 3,
        "batch_size": 4,
    }
    run_rollout(models, store, tmp_path / "whole.nc", **options)
    step, calls = Forecaster.step, 0

    def interrupted(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == interrupted_at:
            raise KeyboardInterrupt
        return step(self, *arguments)

    path = tmp_path / "f.nc"
    monkeypatch.setattr(Forecaster, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_rollout(models, store, path, **options)
    assert not path.exists()
    calls = 100
    for changed in ({"seed": 12}, {"perturbations": ["lagged"]}, {"members": 4}):
        if interrupted_at == 14:  # something is there to go on with
            with pytest.raises(ValueError, match="differ"):
                run_rollout(models, store, path, restart=True, **options | changed)
    run_rollout(models, store, path, restart=True, **options)
    xr.testing.assert_identical(opened(path), opened(tmp_path / "whole.nc"))


def test_members_of_a_model_with_noise_differ_without_a_perturbation(store, noisy, tmp_path):
    options = {"init_times": ["2000-01-01T02"], "n_steps": 2, "seed": 4}
    run_rollout(noisy, store, tmp_path / "3.nc", members=3, batch_size=2, **options)
    run_rollout(noisy, store, tmp_path / "2.nc", members=2, batch_size=1, **options)
    three, two = (opened(tmp_path / f"{n}.nc") for n in (3, 2))
    assert three.attrs["seed"] == "4" and "perturbations" not in three.attrs
    start, end = (three.vorticity[0].isel(lead_time=k) for k in (0, 2))
    assert (start == start[0]).all() and float(end.std("member").min()) > 0
    difference = abs(three.vorticity[:, :2] - two.vorticity).max()
    assert difference < 1e-5 * two.vorticity.std()


def test_the_noise_of_a_member_follows_from_seed_time_member_and_trajectory(store, noisy, tmp_path):
    run_rollout(
        noisy, store, tmp_path / "f.nc", members=2, init_times=["2000-01-01T02"], n_steps=2, seed=4
    )
    stored = Store(store)
    seconds = int(stored.time[2].astype("datetime64[s]").astype(np.int64))
    state = noisy.with_noise(
        State(stored.state(5, 2)[None], stored.time[2:3]), [(4, seconds, 1, 5)]
    )
    *_, last = rollout(noisy, state, 2)
    found = opened(tmp_path / "f.nc").vorticity[0, 1, 2].values
    expected = last.fields[0, 1].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())


def test_bred_vectors_of_a_model_with_noise_compare_forecasts_with_the_same_noise(
    store, noisy, tmp_path
):
    """Breed a difference that is infinitely small: it stays so if the noise is the same."""
    for amplitude in (1e-3, 1e-2):
        run_rollout(
            noisy,
            store,
            tmp_path / f"{amplitude}.nc",
            members=1,
            perturbations=[f"bred:cycles=1,amplitude={amplitude}"],
            n_steps=1,
            init_times=["2000-01-01T03"],
        )
    stored = Store(store).state(5, 3)[1].numpy()
    small, large = (
        opened(tmp_path / f"{a}.nc").vorticity[0, 0, 0].values - stored for a in (1e-3, 1e-2)
    )
    # Directions agree, since both grow linearly; those of different noise would be dominated by it.
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9


def test_a_pair_of_members_shares_its_random_numbers():
    sample = Sample(2, 5, 1, (3, 100, 5, 7))
    pair, sign = sample.of_pair()
    assert sign == -1 and pair == Sample(2, 2, 1, (3, 100, 2, 7))
    assert Sample(2, 4, 1, (3, 100, 4, 7)).of_pair() == (pair, 1)
