"""Commands that draw means over longitudes, latitudes or regions, against lead time or pressure."""

from __future__ import annotations

from typing import Annotated

import typer

from forecast.cli.plot.options import (
    Anomaly,
    BoxLimits,
    Forecast,
    Init,
    Lead,
    Limits,
    Member,
    Picture,
    RegionName,
    TruthStore,
    VariableName,
    Variables,
    parse_box,
    parse_pair,
)


def hovmoeller(
    forecast: Forecast,
    variable: VariableName,
    out: Picture,
    along: Annotated[
        str,
        typer.Option(
            metavar="AXIS",
            help="longitude: means over the latitudes of the region (default 10 S to 10 N); "
            "latitude: means over its longitudes.",
        ),
    ] = "longitude",
    init: Init = None,
    member: Member = None,
    truth: TruthStore = None,
    anomaly: Anomaly = False,
    box: BoxLimits = None,
    region: RegionName = None,
    limits: Limits = None,
) -> None:
    """Draw a variable against longitude or latitude and lead time."""
    from forecast.plotting.hovmoeller import plot_hovmoeller as draw

    draw(
        forecast,
        variable,
        out,
        along=along,
        box=parse_box(box, region),
        init=init,
        member=member,
        truth=truth,
        anomaly=anomaly,
        limits=parse_pair("--limits", limits),
    )
    typer.echo(f"Hovmöller diagram: {out}")


def section(
    forecast: Forecast,
    variable: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name without level, as u, for latitude and pressure; any other name is drawn "
            "against latitude and lead time.",
        ),
    ],
    out: Picture,
    lead: Lead = None,
    init: Init = None,
    member: Member = None,
    truth: TruthStore = None,
    box: BoxLimits = None,
    region: RegionName = None,
    limits: Limits = None,
) -> None:
    """Draw zonal means of a variable on its pressure levels, or at all lead times."""
    from forecast.plotting.sections import plot_section as draw

    draw(
        forecast,
        variable,
        out,
        lead=lead,
        init=init,
        member=member,
        box=parse_box(box, region),
        truth=truth,
        limits=parse_pair("--limits", limits),
    )
    typer.echo(f"section: {out}")


def series(
    forecast: Forecast,
    out: Picture,
    variable: Variables = None,
    point: Annotated[
        str | None,
        typer.Option(metavar="LAT,LON", help="Point, degrees; default: the mean over a region."),
    ] = None,
    box: BoxLimits = None,
    region: RegionName = None,
    init: Init = None,
    member: Annotated[
        int | None, typer.Option(metavar="N", help="Ensemble member; default: all of them.")
    ] = None,
    truth: TruthStore = None,
) -> None:
    """Draw variables at a point, or their mean over a region, with the spread of the members."""
    from forecast.plotting.places import parse_point
    from forecast.plotting.series import plot_series as draw

    draw(
        forecast,
        out,
        variables=variable,
        point=None if point is None else parse_point(point),
        box=parse_box(box, region),
        init=init,
        member=member,
        truth=truth,
    )
    typer.echo(f"series: {out}")
