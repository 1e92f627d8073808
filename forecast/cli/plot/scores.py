"""Commands that draw scores of ensembles, and comparisons of scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.plot.options import (
    Leads,
    Picture,
    ScoredRegion,
    ScoreNames,
    Scores,
    Variables,
)


def scorecard(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="COMPARISON | SCORES_A SCORES_B",
            help="File of `forecast evaluate A B`, or two scores files.",
        ),
    ],
    out: Picture,
    variable: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Variable to draw; may be repeated; default: all."),
    ] = None,
    score: ScoreNames = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Region to draw; may be repeated; default: all."),
    ] = None,
) -> None:
    """Draw which of two forecasts is better, by variable and lead time."""
    from forecast.plotting.scores.card import plot_scorecard as draw

    draw(files, out, variables=variable, rows=score, regions=region)
    typer.echo(f"score card: {out}")


def ranks(
    scores: Scores,
    out: Picture,
    variable: Variables = None,
    lead: Leads = None,
    region: ScoredRegion = None,
) -> None:
    """Draw the rank of the truth among the members of an ensemble."""
    from forecast.plotting.scores.ranks import plot_ranks as draw

    draw(scores, out, variables=variable, leads=lead, region=region)
    typer.echo(f"rank histograms: {out}")


def reliability(
    scores: Scores,
    out: Picture,
    variable: Variables = None,
    lead: Leads = None,
    region: ScoredRegion = None,
) -> None:
    """Draw how often events happened that were forecast with some probability."""
    from forecast.plotting.scores.reliability import plot_reliability as draw

    draw(scores, out, variables=variable, leads=lead, region=region)
    typer.echo(f"reliability diagrams: {out}")
