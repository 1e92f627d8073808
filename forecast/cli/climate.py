"""Command that diagnoses the climate of a long forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.console import progress, say
from forecast.cli.options import StoreOption


def climate(
    forecast: Annotated[
        Path, typer.Argument(metavar="FORECAST", help="Forecast file of `forecast rollout`.")
    ],
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="CLIMATE", help="Climate file to write: .nc.")],
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Split of the store that is the truth; default: all of its times."),
    ] = None,
    spinup: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time to leave out after the start of each forecast, and of each trajectory of "
            "the store, as 10d or 6mo.",
        ),
    ] = None,
) -> None:
    """Compare the climate of a long forecast with the truth and the truth's own variability."""
    from forecast.training.processes import all_processes
    from forecast.verification.climate.climate import climate as run
    from forecast.verification.climate.report import table
    from sphere_ops.memory import keep_freed_memory
    from sphere_ops.parallel.mesh import current

    keep_freed_memory()
    with all_processes(latitude=1), progress("states") as update:
        # Other processes of a mesh have nothing to do.
        if not current().is_first:
            return
        result = run(forecast, data, out, split=split, spinup=spinup, progress=update)
    say(table(result))
    say(f"climate: {out}")
