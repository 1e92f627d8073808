"""Commands that convert a forecast for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.console import progress, say

app = typer.Typer(help="Convert a forecast for other tools.", no_args_is_help=True)


@app.command("grib")
def export_grib(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="Forecast file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="GRIB file to write: .grib2.")],
    variable: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Variable to write; may be repeated; default: all."),
    ] = None,
    bits: Annotated[
        int, typer.Option(min=1, max=24, help="Bits of a packed value, of the range of a field.")
    ] = 16,
) -> None:
    """Write a forecast as GRIB 2, one message for each field."""
    from forecast.interop.grib import export_grib as run

    with progress("forecasts") as update:
        count = run(forecast, out, variables=variable, bits=bits, progress=update)
    say(f"{count} messages: {out}")
