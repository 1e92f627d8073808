"""Command that makes a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.console import progress, say


def report(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Run folders, forecasts, scores, comparisons, climates."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="HTML", help="Page to write.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Store with the truth, for errors and spectra."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    log: Annotated[
        bool,
        typer.Option("--log", help="Log the report and its files to the MLflow run of the run."),
    ] = False,
    register: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Register the run's package in MLflow's model registry."),
    ] = None,
) -> None:
    """Make one self-contained HTML page of a run, its forecasts, scores and climate."""
    from forecast.report.build import make_report
    from forecast.report.publish import check_run, publish

    run = check_run(inputs) if log or register else None
    with progress("sections") as update:
        page = make_report(inputs, out, data=data, title=title, progress=update)
    say(f"report: {page}")
    if run is not None:
        say(publish(run, page, inputs, log=log, register=register))
