"""Figure of a training run, with separate panels of loss and error."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from forecast.training.training_curves import draw_curves

RECORDS = [
    {"step": 10, "train/loss": 0.7},
    {"step": 20, "train/loss": 0.3},
    {"step": 20, "validation/relative_l2_step_1": 0.5, "validation/relative_l2_step_6": 0.9,
     "validation/persistence_step_1": 1.0, "validation/persistence_step_6": 1.2},
    {"step": 40, "train/loss": 0.02, "validation/relative_l2_step_1": 0.06,
     "validation/relative_l2_step_6": 0.4, "validation/persistence_step_1": 1.0,
     "validation/persistence_step_6": 1.2},
]  # fmt: skip


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw records, and return the figure."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)

    def drawn(records):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / "metrics.jsonl").write_text(lines)
        draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
        assert imread(tmp_path / "curves.png").std() > 0.05
        return figures[-1]

    return drawn


def test_loss_and_error_have_axes_of_their_own(draw):
    loss, error = draw(RECORDS).axes
    assert loss.get_ylabel() == "training loss" and "relative error" in error.get_ylabel()
    (line,) = loss.get_lines()
    assert line.get_xydata().tolist() == [[10, 0.7], [20, 0.3], [40, 0.02]]
    curves = [line.get_ydata().tolist() for line in error.get_lines() if line.get_marker() == "o"]
    assert curves == [[0.5, 0.06], [0.9, 0.4]]


def test_persistence_is_in_the_legend_once_and_in_the_colour_of_its_curve(draw):
    _, error = draw(RECORDS).axes
    labels = [text.get_text() for text in error.get_legend().get_texts()]
    assert labels == ["after 1 step", "after 6 steps", "persistence"]
    levels = {line.get_color(): line.get_ydata()[0] for line in error.get_lines()[1::2]}
    assert list(levels.values()) == [1.0, 1.2]
    assert list(levels) == [line.get_color() for line in error.get_lines()[::2]]


def test_a_run_without_validation_has_one_panel(draw):
    (loss,) = draw(RECORDS[:2]).axes
    assert loss.get_xlabel() == "optimiser step"


def test_a_run_that_ended_before_its_first_loss_is_drawn(draw):
    loss, error = draw(RECORDS[2:3]).axes
    assert not len(loss.get_lines()[0].get_xdata()) and len(error.get_lines()) == 4
