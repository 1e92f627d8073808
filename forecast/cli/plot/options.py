"""Arguments and options that the commands of `forecast plot` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from forecast.plotting.places import Box

Forecast = Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")]
Picture = Annotated[
    Path, typer.Option("--out", metavar="PNG", help="Picture to write: .png, .pdf or .svg.")
]
VariableName = Annotated[
    str, typer.Option("--variable", metavar="NAME", help="Name of the variable, as in the file.")
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--variable",
        metavar="NAME",
        help="Variable to draw; may be repeated; default: the first six.",
    ),
]
Lead = Annotated[
    str | None,
    typer.Option("--lead", metavar="LEAD", help="Lead time, as 12h or 3mo; default: the last."),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init", metavar="INIT", help="Initial time, trajectory or index; default: the first."
    ),
]
Member = Annotated[
    int | None,
    typer.Option("--member", metavar="N", help="Ensemble member; default: the ensemble mean."),
]
TruthStore = Annotated[
    Path | None,
    typer.Option("--truth", metavar="STORE", help="Store with the truth, which is drawn too."),
]
Anomaly = Annotated[
    bool, typer.Option("--anomaly", help="Draw anomalies from the climatology of the truth.")
]
Projection = Annotated[
    str | None,
    typer.Option(
        "--projection",
        metavar="NAME",
        help="robinson, plate-carree, orthographic, north-polar or south-polar; default: "
        "robinson, or plate-carree for a region.",
    ),
]
Centre = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--centre",
        metavar="LAT LON",
        help="Middle of the map, degrees; LAT is used by orthographic maps.",
    ),
]
BoxLimits = Annotated[
    str | None,
    typer.Option(
        "--box",
        metavar="S,N,W,E",
        help="Region: lat_min,lat_max,lon_min,lon_max in degrees; W may be above E.",
    ),
]
RegionName = Annotated[
    str | None,
    typer.Option("--region", metavar="NAME", help="Region by name, as europe or tropics."),
]
LatitudeLimit = Annotated[
    float | None,
    typer.Option(
        "--latitude-limit",
        metavar="DEG",
        help="Distance of the edge of a polar map from the equator; default: 20.",
    ),
]
Limits = Annotated[
    str | None,
    typer.Option(
        "--limits",
        metavar="LOW,HIGH",
        help="Limits of the colours; default: from the values, without outliers.",
    ),
]
Coastlines = Annotated[
    bool | None,
    typer.Option(
        "--coastlines/--no-coastlines",
        help="Draw coastlines; default: unless the data are solver trajectories.",
    ),
]

Scores = Annotated[
    Path, typer.Argument(metavar="SCORES", help="Scores file of `forecast evaluate`.")
]
ScoreNames = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        metavar="NAME",
        help="Score to draw, as mae; may be repeated; default: rmse and acc.",
    ),
]
ScoredRegion = Annotated[
    str | None,
    typer.Option("--region", metavar="NAME", help="Region of the file; default: the globe."),
]
Leads = Annotated[
    list[str] | None,
    typer.Option(
        "--lead",
        metavar="LEAD",
        help="Lead time, as 12h or 3mo; may be repeated; default: a few of the file.",
    ),
]


def parse_box(box: str | None, region: str | None) -> Box | None:
    """Return the box of the options `--box` and `--region`, or None if neither is given.

    Raises:
        ValueError: If both are given, or one is not valid.
    """
    from forecast.plotting.places import Box

    if box is not None and region is not None:
        raise ValueError("--box and --region were given; leave out one of them")
    if box is not None:
        return Box.parse(box)
    return None if region is None else Box.named(region)


def parse_pair(option: str, text: str | None) -> tuple[float, float] | None:
    """Return the numbers of "LOW,HIGH", or None if the option is not given.

    Raises:
        ValueError: If these are no two finite numbers in increasing order.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
        if not -float("inf") < low < high < float("inf"):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{option} {text!r}; expected two numbers, the lower one first, as 270,300"
        ) from None
    return low, high
