"""Table of the sections of a report, and the section on the sources of the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forecast.inference.reading.open_file import open_output
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.report.sections.climate import climate_section
from forecast.report.sections.fields import (
    animation_section,
    maps_section,
    spectra_section,
    stability_section,
)
from forecast.report.sections.model import model_section, training_section
from forecast.report.sections.scores import comparison_section, ensemble_section, scores_section

Drawer = Callable[[Inputs, Section, Path], None]
"""Function that fills a section; it leaves one empty that the inputs do not give. The folder is for
pictures on their way into the page."""


def provenance_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """List source and history of all files."""
    rows = []
    for path in (*inputs.forecasts, *inputs.scores, *inputs.comparisons, *inputs.climates):
        with open_output(path, "file", "forecast") as dataset:
            rows.append(
                (path.name, *(str(dataset.attrs.get(n, "")) for n in ("source", "history")))
            )
    if rows:
        section.table(("file", "source", "history"), rows)


SECTIONS: dict[str, Drawer] = {
    "Model": model_section,
    "Training": training_section,
    "Scores": scores_section,
    "Comparison": comparison_section,
    "Ensemble": ensemble_section,
    "Maps": maps_section,
    "Animation": animation_section,
    "Spectra": spectra_section,
    "Climate": climate_section,
    "Stability": stability_section,
    "Provenance": provenance_section,
}
"""Sections by title, in their order."""
