"""The study of the atmosphere on a store of the model of the tests."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks.accuracy.atmosphere import __main__ as command
from benchmarks.accuracy.atmosphere import scores as atmosphere_scores
from configs.load import load_config
from data_prep.gcm.run import generate
from data_prep.store.reader import Store
from forecast.training.train import chosen_part
from tests.data_prep.gcm.fake_model import fake_python

WORDS = [
    "gcm.last=2003-02-28", "gcm.first=2001-01-01", "data.time_step=1d", "data.variables=[z500, sp]",
    "data.splits={train: {first: '2001', last: '2002'}, validation: {first: 2003-01, last: "
    "2003-01}, test: {first: 2003-02, last: 2003-02}}",
    "model.channels=4", "training.steps=2", "training.validate_every=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atmosphere")
    config = load_config("atmosphere_smoke", WORDS)
    return generate(config, folder / "store.zarr", python=fake_python(folder))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(atmosphere_scores, "LEADS", (24, 48))
    monkeypatch.setattr(atmosphere_scores, "_STARTS", 3)


@pytest.mark.slow
def test_the_truth_itself_has_no_error_and_references_are_as_defined(data, small):
    store = chosen_part(load_config("atmosphere_smoke", WORDS), Store(data))
    sums = atmosphere_scores.Scores(store)
    at = store.split_indices("test")[[3, 9]]
    for lead in range(2):
        sums.add(lead, atmosphere_scores._predicted(store, at), at)
    scores = sums.scores()["z500"]
    assert scores["rmse"] == [0, 0] and scores["bias"] == [0, 0]
    np.testing.assert_allclose(scores["acc"], 1, rtol=1e-4)
    found = atmosphere_scores.references(store, "test")
    for of in found["climatology"].values():
        assert of["acc"] == [0, 0]
        np.testing.assert_allclose(np.mean(np.square(of["rmse"])), of["spread"] ** 2, rtol=1e-3)
    damped, kept = (found[n]["z500"]["rmse"] for n in ("damped persistence", "persistence"))
    assert damped[1] < kept[1]


@pytest.mark.slow
def test_runs_are_measured_once_and_collected(data, small, tmp_path, monkeypatch, capsys):
    words = ["atmosphere", "--data", str(data), "--out", str(tmp_path / "out"), "--preset",
             "atmosphere_smoke", "--rows", "global", "sfno", "--overrides", *WORDS]  # fmt: skip
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", words)
        command.main()
        monkeypatch.setattr(command, "run", lambda *a: pytest.fail("a run was done again"))
    found = json.loads((tmp_path / "out" / "atmosphere.json").read_text())
    assert [r["row"] for r in found["runs"]] == ["global", "sfno"]
    ours, peer = found["runs"]
    assert np.isfinite(ours["scores"]["z500"]["rmse"]).all()
    assert ours["year"]["True"]["steps"] == 30
    assert peer["parameters"] != ours["parameters"] and "commit" in peer
    assert found["references"]["persistence"]["sp"]["rmse"][0] > 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_moments_of_equal_states_agree_and_those_of_others_do_not(data):
    store = chosen_part(load_config("atmosphere_smoke", WORDS), Store(data))
    ours, truth = (atmosphere_scores._Moments(store) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.randn(2, 2, *store.grid.shape, generator=generator)
        ours.add(2 * x + 1)
        truth.add(x)
    for of in ours.compare(truth).values():
        np.testing.assert_allclose(of["bias"], 1, atol=0.1)
        np.testing.assert_allclose(of["deviation_ratio"], 2, rtol=1e-3)
        np.testing.assert_allclose(of["power_ratio"][5:], 4, rtol=0.01)
        np.testing.assert_allclose(of["pattern_correlation"], 1, rtol=1e-3)
