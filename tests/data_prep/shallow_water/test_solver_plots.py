"""Figures of solver runs: labels do not overlap, and have one power of ten."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from data_prep.shallow_water.solver_plots import draw_diagnostics, draw_failure


@pytest.fixture
def figures(monkeypatch):
    """List of the figures that are saved."""
    kept = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        kept.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def _diagnostics(path, scale):
    """Return diagnostics of six trajectories whose integrals change by about `scale`."""
    rng = np.random.default_rng(0)
    days = np.linspace(0, 0.83, 21)
    change = rng.normal(size=(6, 21, 4)).cumsum(1) - 6 * days[:, None]
    values = 3.0e7 * (1 + scale * (change - change[:, :1]))
    values[:, :, 0] = 98000.0  # conserved
    spectrum = 0.3 / np.arange(1.0, 23.0) ** 2 * np.ones((6, 21, 1))
    draw_diagnostics(path, days, values, spectrum, "Shallow-water trajectories: random\ns.zarr")


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1e-4, 0.1, 1e6])
def test_labels_of_the_diagnostics_do_not_collide(tmp_path, monkeypatch, scale):
    drawn = {}  # texts that are drawn, with their boxes; ticks beyond the limits are not
    draw = Text.draw

    def keep(text, renderer):
        if text.get_visible() and text.get_text().strip():
            drawn[text] = text.get_window_extent(renderer)
        draw(text, renderer)

    monkeypatch.setattr(Text, "draw", keep)
    _diagnostics(tmp_path / "d.png", scale)
    assert len(drawn) > 50
    height, width = imread(tmp_path / "d.png").shape[:2]
    for text, box in drawn.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    for (text, box), (other, its_box) in combinations(drawn.items(), 2):
        assert not box.overlaps(its_box), f"{text.get_text()!r} lies on {other.get_text()!r}"


def test_the_power_of_ten_stands_in_the_label(tmp_path, figures):
    _diagnostics(tmp_path / "d.png", 1e-6)
    draw_failure(tmp_path / "f.png", np.linspace(-4e-6, 4e-6, 128).reshape(8, 16), "last state")
    diagnostics, failure = figures
    labels = [axes.get_ylabel() for axes in diagnostics.axes]
    assert labels[1:4] == ["relative change [10⁻⁶]"] * 3
    assert failure.axes[1].get_ylabel() == "relative vorticity [10⁻⁶ s⁻¹]"
    for axes in (*diagnostics.axes, *failure.axes):
        assert not axes.yaxis.get_offset_text().get_text()
    assert imread(tmp_path / "f.png").std() > 0.05


def test_an_integral_that_is_conserved_has_a_flat_line_in_the_middle(tmp_path, figures):
    _diagnostics(tmp_path / "d.png", 1e-7)
    low, high = figures[0].axes[0].get_ylim()
    assert low == -high and 0 < high < 1e-15
