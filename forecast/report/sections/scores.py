"""Sections on scores: tables, curves, score cards, ensembles."""

from __future__ import annotations

from pathlib import Path

from forecast.inference.reading.open_file import open_output
from forecast.plotting.curves import plot_scores
from forecast.plotting.scores.card import plot_scorecard
from forecast.plotting.scores.ranks import HISTOGRAM, plot_ranks
from forecast.plotting.scores.reliability import OBSERVED, plot_reliability
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.verification.report import cells, headline
from forecast.verification.significance import comparison_report

_PICTURES = {
    HISTOGRAM: (plot_ranks, "Rank of the truth among the members"),
    OBSERVED: (plot_reliability, "Reliability of probabilities"),
}
"""Pictures of ensembles by the variable that they show."""


def scores_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show the table of scores and their curves over lead time."""
    for i, path in enumerate(inputs.scores):
        with open_output(path, "scores file", "forecast evaluate") as scores:
            section.items(headline(scores))
            for region in scores.region.values:
                if len(scores.region) > 1:
                    section.text(f"Region: {region}")
                header, rows = cells(scores.sel(region=region))
                section.table([title.replace("|", " ") for title in header], rows)
            comment = str(scores.attrs.get("comment", ""))
        out = folder / f"scores_{i}.png"
        plot_scores(path, out)
        section.picture(out, f"Scores of {path.name} over lead time")
        section.text(comment)


def ensemble_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show rank histograms and reliability of ensembles."""
    for i, path in enumerate(inputs.scores):
        with open_output(path, "scores file", "forecast evaluate") as scores:
            known = {n for n in _PICTURES if n in scores and scores[n].notnull().any()}
        for name, (draw, what) in _PICTURES.items():
            if name in known:
                out = folder / f"{name}_{i}.png"
                draw(path, out)
                section.picture(out, f"{what}: {path.name}")


def comparison_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show which of two forecasts is better, with a score card."""
    for i, path in enumerate(inputs.comparisons):
        with open_output(path, "comparison", "forecast evaluate A B") as found:
            section.items(comparison_report.headline(found))
        out = folder / f"card_{i}.png"
        plot_scorecard([path], out)
        section.picture(out, "Score card: blue where A is better; a triangle marks what is certain")
