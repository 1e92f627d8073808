"""Commands that draw a forecast or its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.options import StoreOption

app = typer.Typer(help="Draw a forecast or its scores.", no_args_is_help=True)

Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--variable",
        metavar="NAME",
        help="Variable to draw; may be repeated; default: the first six.",
    ),
]
Picture = Annotated[Path, typer.Option("--out", metavar="PNG", help="Picture to write.")]


@app.command("map")
def plot_map(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")],
    variable: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the variable, as in the file.")
    ],
    out: Picture,
    lead: Annotated[
        str | None,
        typer.Option(metavar="LEAD", help="Lead time, as 12h or 3mo; default: the last."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="INIT", help="Initial time, trajectory or index; default: the first."),
    ] = None,
    projection: Annotated[
        Literal["robinson", "orthographic", "plate-carree"], typer.Option(help="Map projection.")
    ] = "robinson",
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE", help="Store with the truth, drawn with the error beside the forecast."
        ),
    ] = None,
    anomaly: Annotated[
        bool, typer.Option("--anomaly", help="Draw anomalies from the climatology of the truth.")
    ] = False,
    centre: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LAT LON", help="Middle of the map, degrees; LAT is used by orthographic maps."
        ),
    ] = None,
    coastlines: Annotated[
        bool | None,
        typer.Option(help="Draw coastlines; default: unless the data are solver trajectories."),
    ] = None,
) -> None:
    """Draw one variable at one lead time on a map."""
    from forecast.plotting.maps import plot_map as draw

    draw(
        forecast,
        variable,
        out,
        lead=lead,
        init=init,
        projection=projection,
        truth=truth,
        anomaly=anomaly,
        centre=centre,
        coastlines=coastlines,
    )
    typer.echo(f"map: {out}")


@app.command("scores")
def plot_scores(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Scores file of `forecast evaluate`.")
    ],
    out: Picture,
    variable: Variables = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Score to draw, as mae; may be repeated; default: rmse and acc."
        ),
    ] = None,
) -> None:
    """Draw the scores of the forecast and of its baselines over lead time."""
    from forecast.plotting.curves import plot_scores as draw

    draw(scores, out, variables=variable, rows=score)
    typer.echo(f"scores: {out}")


@app.command("spectrum")
def plot_spectrum(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")],
    data: StoreOption,
    out: Picture,
    variable: Variables = None,
    lead: Annotated[
        list[str] | None,
        typer.Option(metavar="LEAD", help="Lead time, as 12h; may be repeated; default: four."),
    ] = None,
) -> None:
    """Draw the power spectra of the forecast and of the truth."""
    from forecast.plotting.curves import plot_spectrum as draw

    draw(forecast, data, out, variables=variable, leads=lead)
    typer.echo(f"spectrum: {out}")
