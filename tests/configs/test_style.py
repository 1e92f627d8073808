"""Style of figures: one file alone creates figures and names colours."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib import rcParams
from matplotlib.colors import to_rgba

from configs.style import BLUE, INK, new_figure, picture_style

ROOT = Path(__file__).parents[2]
PACKAGES = ("configs", "data_prep", "forecast", "benchmarks")
_OWN_STYLE = r"Figure\(|FigureCanvas|pyplot|\"#[0-9a-f]{6}\"|\"(viridis|\w+_r)\""


def test_figures_and_colours_come_from_the_style_alone():
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        if path.relative_to(ROOT).as_posix() == "configs/style.py":
            continue
        source = path.read_text(encoding="utf-8")
        found = re.search(_OWN_STYLE, source)
        assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_the_style_holds_inside_and_leaves_matplotlib_as_it_was():
    before = rcParams["axes.spines.top"], rcParams["text.color"]
    with picture_style():
        axes = new_figure(3, 2).add_subplot()
        (line,) = axes.plot([0, 1], [0, 1])
        assert to_rgba(line.get_color()) == to_rgba(BLUE)
        assert to_rgba(axes.title.get_color()) == to_rgba(INK)
        assert not axes.spines["top"].get_visible()
    assert (rcParams["axes.spines.top"], rcParams["text.color"]) == before
