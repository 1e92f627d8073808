"""Commands that draw the members of an ensemble."""

from __future__ import annotations

from typing import Annotated

import typer

from forecast.cli.plot.options import (
    BoxLimits,
    Centre,
    Coastlines,
    Forecast,
    Init,
    LatitudeLimit,
    Lead,
    Limits,
    Picture,
    Projection,
    RegionName,
    TruthStore,
    VariableName,
    parse_box,
    parse_pair,
)


def spaghetti(
    forecast: Forecast,
    variable: VariableName,
    out: Picture,
    level: Annotated[
        list[float] | None,
        typer.Option(
            metavar="VALUE", help="Value of a contour; may be repeated; default: two round values."
        ),
    ] = None,
    lead: Lead = None,
    init: Init = None,
    truth: TruthStore = None,
    projection: Projection = None,
    centre: Centre = None,
    box: BoxLimits = None,
    region: RegionName = None,
    latitude_limit: LatitudeLimit = None,
    coastlines: Coastlines = None,
) -> None:
    """Draw contours of all members of an ensemble on a map."""
    from forecast.plotting.ensembles import plot_spaghetti as draw

    draw(
        forecast,
        variable,
        out,
        levels=level,
        lead=lead,
        init=init,
        projection=projection,
        truth=truth,
        centre=centre,
        box=parse_box(box, region),
        latitude_limit=latitude_limit,
        coastlines=coastlines,
    )
    typer.echo(f"spaghetti map: {out}")


def spread(
    forecast: Forecast,
    variable: VariableName,
    out: Picture,
    lead: Lead = None,
    init: Init = None,
    truth: TruthStore = None,
    projection: Projection = None,
    centre: Centre = None,
    box: BoxLimits = None,
    region: RegionName = None,
    latitude_limit: LatitudeLimit = None,
    limits: Limits = None,
    coastlines: Coastlines = None,
) -> None:
    """Draw the mean and the spread of an ensemble on maps."""
    from forecast.plotting.ensembles import plot_spread as draw

    draw(
        forecast,
        variable,
        out,
        lead=lead,
        init=init,
        projection=projection,
        truth=truth,
        centre=centre,
        box=parse_box(box, region),
        latitude_limit=latitude_limit,
        limits=parse_pair("--limits", limits),
        coastlines=coastlines,
    )
    typer.echo(f"spread map: {out}")
