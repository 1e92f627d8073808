"""Section on the climate of long forecasts."""

from __future__ import annotations

from pathlib import Path

from forecast.inference.reading.open_file import open_output
from forecast.plotting.climate import plot_climate
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.report.sections.fields import MOST_CHANNELS
from forecast.verification.climate import report


def climate_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show distances from the truth's climate, and the pictures of each channel."""
    for i, path in enumerate(inputs.climates):
        with open_output(path, "climate", "forecast climate") as data:
            section.items(report.headline(data))
            for header, rows in report.grids(data):
                section.table(header, rows)
            section.text(str(data.attrs["comment"]))
            names = [str(name) for name in data.channel.values[:MOST_CHANNELS]]
        for name in names:
            out = folder / f"climate_{i}_{name}.png"
            plot_climate(path, out, variables=[name])
            section.picture(out, f"Climate of {name}: {path.name}")
