"""Command that scores a forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forecast.cli.console import progress, say
from forecast.cli.starts import is_store
from forecast.cli.truths import truth_from


def evaluate(
    forecast: Annotated[
        Path, typer.Argument(metavar="FORECAST", help="Forecast file of `forecast rollout`.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Scores or differences to write: .nc.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="OTHER",
            help="Second forecast, to compare with the first; both may be scores files.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            help="Store that the forecast started from, with the truth and the climatology.",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="STORE|FILES",
            help="Store with the truth, or files that `data ingest` reads, if it is not the store "
            "that the forecast started from.",
        ),
    ] = None,
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
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME>LIMIT",
            help="Event to score, as 't2m>303', 'tp>1mm' or, by the quantile of the training "
            "states, 't2m>q95'; may be repeated.",
        ),
    ] = None,
    fractions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME>LIMIT:RADIUS",
            help="Fractions skill score of an event in neighbourhoods, as 'tp>1mm:100km' or "
            "'tp>q95:100km,500km'; may be repeated.",
        ),
    ] = None,
    dry_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Precipitation in a step below which SEEPS counts it as dry; default: 0.25 mm for "
            "steps of a day or more, 0.1 mm for shorter ones.",
            show_default=False,
        ),
    ] = None,
    spectra: Annotated[
        bool,
        typer.Option(help="Spectra, coherence and conserved quantities of up to 32 forecasts."),
    ] = True,
    confidence: Annotated[
        float, typer.Option(help="Probability that an interval covers the true value.")
    ] = 0.95,
    block_length: Annotated[
        int | None,
        typer.Option(
            metavar="STARTS",
            help="Consecutive starts in a block of the bootstrap; default: from their "
            "autocorrelation; 1: starts are independent.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    false_discovery: Annotated[
        bool,
        typer.Option(
            "--false-discovery",
            help="Of two forecasts: significance of all differences together, by the false "
            "discovery rate.",
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler whose workers score one forecast, as tcp://host:8786. They need "
            "the forecast and the stores under the same paths.",
        ),
    ] = None,
) -> None:
    """Score a forecast against the truth and the baselines, or compare two forecasts.

    With one FORECAST, write its scores with their intervals, and print a table.

    With two, write the differences of their scores over the starts, lead times and points that both
    have, and print which one is better, where, by how much, and whether that is certain.
    """
    from forecast.training.processes import all_processes
    from forecast.verification.evaluate import evaluate as run
    from forecast.verification.report import table
    from forecast.verification.significance import comparison, comparison_report
    from forecast.verification.significance.intervals import Settings
    from sphere_ops.memory import keep_freed_memory

    if scheduler is not None:
        _check_scheduler(other, truth)
    settings = Settings(confidence, seed, block_length)
    shared: dict[str, Any] = {
        "climatology": climatology,
        "regions": region or (),
        "conventions": conventions,
        "thresholds": threshold or (),
        "fractions": fractions or (),
        "dry_threshold": dry_threshold,
    }
    keep_freed_memory()
    with (
        all_processes(latitude=1),
        truth_from(truth, forecast) as shared["truth"],
        progress("forecasts") as shared["progress"],
    ):
        if other is None:
            if false_discovery:
                raise ValueError("--false-discovery is for two forecasts; leave it out")
            text = table(
                run(
                    forecast,
                    data,
                    out,
                    baselines=baseline,
                    intervals=settings,
                    spectra=spectra,
                    scheduler=scheduler,
                    **shared,
                )
            )
        else:
            if baseline:
                raise ValueError("--baseline is for the scores of one forecast; leave it out")
            text = comparison_report.table(
                comparison.compare(
                    forecast,
                    other,
                    out,
                    data=data,
                    settings=settings,
                    false_discovery=false_discovery,
                    **shared,
                )
            )
    say(text)
    say(f"{'scores' if other is None else 'comparison'}: {out}")


def _check_scheduler(other: Path | None, truth: str | None) -> None:
    """Raise an error for what the workers of a cluster cannot score."""
    if other is not None:
        raise ValueError("--scheduler is for the scores of one forecast; leave it out")
    if truth is not None and not is_store(Path(truth)):
        raise ValueError(
            f"--truth {truth} is not a store, and the workers of --scheduler take the truth from a "
            "store; make one with `forecast data ingest`, or leave out --scheduler"
        )
