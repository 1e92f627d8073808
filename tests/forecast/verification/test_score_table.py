"""Table of scores, from which evaluation, report and curves read each score."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_prep.store.reader import Store
from forecast.inference.forecast import run_rollout
from forecast.plotting import curves
from forecast.verification import metrics, score_table
from forecast.verification.evaluate import evaluate
from forecast.verification.report import markdown, table
from forecast.verification.score_table import SCORES, Score, register
from forecast.verification.scoring import scorer
from tests.forecast.stand_in import Turning
from tests.forecast.verification.test_references import without_splits


@pytest.fixture(autouse=True)
def table_is_restored() -> Iterator[None]:
    before = dict(SCORES)
    yield
    SCORES.clear()
    SCORES.update(before)


@pytest.fixture
def series(make_store, tmp_path) -> Path:
    path = make_store(tmp_path / "series.zarr", "files", mask=True, n_times=96)
    run_rollout(Turning(path, 0.9), path, tmp_path / "f.nc", split="train", n_steps=3)
    return path


def documented_example() -> str:
    """Return the code in the docstring of the table's module."""
    lines = inspect.getdoc(score_table).splitlines()
    return inspect.cleandoc("\n".join(x for x in lines if x.startswith("    ") or not x))


def test_the_documented_score_is_in_scores_file_report_and_curves(series, tmp_path, monkeypatch):
    exec(documented_example(), {})
    scores = evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")

    store = Store(series)
    starts = store.split_indices("train")
    truth = np.stack([store.states(int(i), 0, 4).numpy() for i in starts])
    with xr.open_dataset(tmp_path / "f.nc") as file:
        forecast = np.stack([file[name].values for name in store.channel_names], 2)
    expected = np.nanmax(np.abs(forecast - truth), axis=(-2, -1)).mean(0).T
    with xr.open_dataset(tmp_path / "s.nc") as file:
        assert file.max_error.attrs == {"long_name": "Maximum absolute error"}
        np.testing.assert_allclose(
            file.max_error.sel(forecast="model", region="global"), expected, rtol=1e-6
        )
        climatology = file.max_error.sel(forecast="climatology")
        assert (climatology > file.rmse.sel(forecast="climatology")).all()

    assert "| max error |" in (tmp_path / "s.md").read_text() == markdown(scores)
    assert "max" in table(scores) and "error" in table(scores)

    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, out: figures.append(figure))
    curves.plot_scores(tmp_path / "s.nc", tmp_path / "s.png", rows=["max_error"])
    axes = figures[0].axes
    assert [a.get_ylabel() for a in axes] == ["max_error [°C]", "max_error [K]"]
    drawn = axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(
        drawn, scores.max_error.sel(forecast="model", channel="sst", region="global")
    )


@pytest.mark.parametrize("with_reference", [True, False])
def test_fast_forms_agree_with_the_definitions(series, tmp_path, monkeypatch, with_reference):
    if not with_reference:
        without_splits(series)
    fast = evaluate(tmp_path / "f.nc", series, tmp_path / "a.nc")
    monkeypatch.setattr(scorer, "FROM_MEANS", {})
    by_definition = evaluate(tmp_path / "f.nc", series, tmp_path / "b.nc")
    # Relative to values of order 0.1: both are float64, and some are exactly zero.
    xr.testing.assert_allclose(fast, by_definition, rtol=1e-10, atol=1e-12)


def test_every_fast_form_is_of_a_score() -> None:
    assert set(scorer.FROM_MEANS) <= set(SCORES)


@pytest.mark.parametrize("name", ["rmse", "skill"])
def test_a_name_that_the_scores_file_has_is_refused(name):
    with pytest.raises(ValueError, match=f"already has a variable '{name}'; give the score an"):
        register(Score(name, "Twice", metrics.absolute_error))


def test_a_curve_of_an_unknown_score_is_refused(series, tmp_path):
    evaluate(tmp_path / "f.nc", series, tmp_path / "s.nc")
    with pytest.raises(ValueError, match=r"s.nc has no score 'rmsd'; it has rmse, .*nearest: rmse"):
        curves.plot_scores(tmp_path / "s.nc", tmp_path / "s.png", rows=["rmsd"])
    assert not (tmp_path / "s.png").exists()
