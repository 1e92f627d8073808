"""Commands that draw a forecast or its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.console import progress
from forecast.cli.options import StoreOption
from forecast.cli.plot import ensembles, profiles
from forecast.cli.plot import scores as scores_files
from forecast.cli.plot.options import (
    Anomaly,
    BoxLimits,
    Centre,
    Coastlines,
    Forecast,
    Init,
    LatitudeLimit,
    Lead,
    Leads,
    Limits,
    Member,
    Picture,
    Projection,
    RegionName,
    ScoredRegion,
    ScoreNames,
    Scores,
    TruthStore,
    VariableName,
    Variables,
    parse_box,
    parse_pair,
)

app = typer.Typer(help="Draw a forecast or its scores.", no_args_is_help=True)


@app.command("map")
def plot_map(
    forecast: Forecast,
    variable: VariableName,
    out: Picture,
    lead: Lead = None,
    init: Init = None,
    member: Member = None,
    projection: Projection = None,
    truth: TruthStore = None,
    anomaly: Anomaly = False,
    centre: Centre = None,
    box: BoxLimits = None,
    region: RegionName = None,
    latitude_limit: LatitudeLimit = None,
    limits: Limits = None,
    coastlines: Coastlines = None,
) -> None:
    """Draw one variable at one lead time on a map."""
    from forecast.plotting.maps import plot_map as draw

    draw(
        forecast,
        variable,
        out,
        lead=lead,
        init=init,
        member=member,
        projection=projection,
        truth=truth,
        anomaly=anomaly,
        centre=centre,
        box=parse_box(box, region),
        latitude_limit=latitude_limit,
        limits=parse_pair("--limits", limits),
        coastlines=coastlines,
    )
    typer.echo(f"map: {out}")


@app.command("animation")
def plot_animation(
    forecast: Forecast,
    variable: VariableName,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Animation to write: .gif or .mp4.")
    ],
    fps: Annotated[float, typer.Option(metavar="N", help="Frames per second.")] = 8.0,
    every: Annotated[int, typer.Option(metavar="N", help="Interval of the lead times drawn.")] = 1,
    init: Init = None,
    member: Member = None,
    projection: Projection = None,
    truth: TruthStore = None,
    anomaly: Anomaly = False,
    centre: Centre = None,
    box: BoxLimits = None,
    region: RegionName = None,
    latitude_limit: LatitudeLimit = None,
    limits: Limits = None,
    coastlines: Coastlines = None,
) -> None:
    """Write an animation of one variable over all lead times."""
    from forecast.plotting.animation.frames import plot_animation as draw

    with progress("frames") as update:
        draw(
            forecast,
            variable,
            out,
            fps=fps,
            every=every,
            init=init,
            member=member,
            projection=projection,
            truth=truth,
            anomaly=anomaly,
            centre=centre,
            box=parse_box(box, region),
            latitude_limit=latitude_limit,
            limits=parse_pair("--limits", limits),
            coastlines=coastlines,
            progress=update,
        )
    typer.echo(f"animation: {out}")


app.command("hovmoeller")(profiles.hovmoeller)
app.command("section")(profiles.section)
app.command("series")(profiles.series)
app.command("spaghetti")(ensembles.spaghetti)
app.command("spread")(ensembles.spread)


@app.command("scores")
def plot_scores(
    scores: Scores,
    out: Picture,
    variable: Variables = None,
    score: ScoreNames = None,
    region: ScoredRegion = None,
) -> None:
    """Draw the scores of the forecast and of its baselines over lead time."""
    from forecast.plotting.curves import plot_scores as draw

    draw(scores, out, variables=variable, rows=score, region=region)
    typer.echo(f"scores: {out}")


app.command("scorecard")(scores_files.scorecard)
app.command("ranks")(scores_files.ranks)
app.command("reliability")(scores_files.reliability)


@app.command("spectrum")
def plot_spectrum(
    forecast: Forecast,
    data: StoreOption,
    out: Picture,
    variable: Variables = None,
    lead: Leads = None,
) -> None:
    """Draw the power spectra of the forecast and of the truth."""
    from forecast.plotting.curves import plot_spectrum as draw

    draw(forecast, data, out, variables=variable, leads=lead)
    typer.echo(f"spectrum: {out}")


@app.command("climate")
def plot_climate(
    climate: Annotated[
        Path, typer.Argument(metavar="CLIMATE", help="Climate file of `forecast climate`.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR|PNG",
            help="Folder for a picture of each variable, or picture of one variable.",
        ),
    ],
    variable: Annotated[
        list[str] | None,
        typer.Option(
            "--variable",
            metavar="NAME",
            help="Variable to draw; may be repeated; default: all in a folder, the first in a "
            "picture.",
        ),
    ] = None,
    coastlines: Coastlines = None,
) -> None:
    """Draw the climate of a forecast, the truth and the range of sampling."""
    from forecast.plotting.climate import plot_climate as draw

    for picture in draw(climate, out, variables=variable, coastlines=coastlines):
        typer.echo(f"climate: {picture}")
