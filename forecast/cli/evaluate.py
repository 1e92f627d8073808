"""Command that scores a forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.console import progress, say
from forecast.cli.options import StoreOption


def evaluate(
    forecast: Annotated[
        Path, typer.Argument(metavar="FORECAST", help="Forecast file of `forecast rollout`.")
    ],
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="SCORES", help="Scores to write: .nc.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="persistence or climatology; may be repeated; default: all possible."),
    ] = None,
    climatology: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE|STORE",
            help="Source of climatology and means; default: the store.",
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Region to score beside the globe, as tropics, land, europe+land, all, or "
            "name=lat_min,lat_max,lon_min,lon_max; may be repeated.",
        ),
    ] = None,
    conventions: Annotated[
        str,
        typer.Option(help="Area weights, persistence and climatology: default or weatherbench2."),
    ] = "default",
) -> None:
    """Score a forecast against the truth and the baselines, and print a table."""
    from forecast.training.processes import all_processes
    from forecast.verification.evaluate import evaluate as run
    from forecast.verification.report import table
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with all_processes(latitude=1), progress("forecasts") as update:
        scores = run(
            forecast,
            data,
            out,
            baselines=baseline,
            climatology=climatology,
            regions=region or (),
            conventions=conventions,
            progress=update,
        )
    say(table(scores))
    say(f"scores: {out}")
