"""The commands that draw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.commands import StoreOption

app = typer.Typer(help="Draw a forecast or its scores.", no_args_is_help=True)

Picture = Annotated[Path, typer.Option("--out", metavar="PNG", help="Picture to write.")]


@app.command("map")
def plot_map(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")],
    variable: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the variable, as in the file.")
    ],
    out: Picture,
    lead: Annotated[int, typer.Option(min=0, help="Step of the forecast.")] = 1,
    init: Annotated[int, typer.Option(min=0, help="Index of the initial state.")] = 0,
    projection: Annotated[
        Literal["robinson", "orthographic", "plate-carree"], typer.Option(help="Map projection.")
    ] = "robinson",
    truth: Annotated[
        Path | None, typer.Option(metavar="STORE", help="Draw the truth and the error beside it.")
    ] = None,
) -> None:
    """Draw one variable at one lead time on a map."""
    from forecast.plot import plot_map as draw

    draw(forecast, variable, out, lead=lead, init=init, projection=projection, truth=truth)
    typer.echo(f"map: {out}")


@app.command("scores")
def plot_scores(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Scores file of `forecast evaluate`.")
    ],
    out: Picture,
) -> None:
    """Draw the scores of the forecast and of its baselines over lead time."""
    from forecast.plot import plot_scores as draw

    draw(scores, out)
    typer.echo(f"scores: {out}")


@app.command("spectrum")
def plot_spectrum(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")],
    data: StoreOption,
    out: Picture,
) -> None:
    """Draw the power spectra of the forecast and of the truth."""
    from forecast.plot import plot_spectrum as draw

    draw(forecast, data, out)
    typer.echo(f"spectrum: {out}")
