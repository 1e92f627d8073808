"""Commands that make, describe or export a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.console import progress
from forecast.cli.options import Overrides, Preset

app = typer.Typer(help="Make, describe or export a training store.", no_args_is_help=True)


@app.command("swe")
def swe(
    preset: Preset,
    out: Annotated[Path, typer.Option(metavar="STORE", help="Store to write.")],
    overrides: Overrides = None,
) -> None:
    """Solve the shallow-water equations and write the trajectories to a store."""
    from configs.load import load_config

    config = load_config(preset, overrides or ()).data
    if config.source != "shallow_water":
        raise ValueError(
            f"the data of {preset} come from {config.source}, not from the solver; "
            "use `forecast data ingest`, or a preset such as swe"
        )
    # Imported after the check of the configuration, which then answers at once.
    from data_prep.shallow_water.generate import generate_shallow_water
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with progress("trajectories") as update:
        generate_shallow_water(config, out, progress=update)
    typer.echo(f"store: {out}")


@app.command("ingest")
def ingest(
    preset: Preset,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [KEY=VALUE]...",
            help="netCDF, GRIB or zarr files, patterns, URLs; overrides such as data.splits=null.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="STORE", help="Store to write.")],
) -> None:
    """Read ERA5-style gridded files and write them to a store."""
    from configs.load import is_override, load_config

    overrides = [word for word in words if is_override(word)]
    files = [word for word in words if word not in overrides]
    config = load_config(preset, overrides).data
    if config.source != "files":
        raise ValueError(
            f"the data of {preset} come from the shallow-water solver, not from files; "
            "use `forecast data swe`, or a preset such as reanalysis"
        )
    if not files:
        raise ValueError("no input file is given; name netCDF, GRIB or zarr files after the preset")
    from data_prep.ingest.run import ingest

    with progress("times") as update:
        ingest(files, config, out, progress=update)
    typer.echo(f"store: {out}")


@app.command("info")
def info(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store to describe.")],
) -> None:
    """Describe a store: grid, channels, times, splits, statistics, provenance."""
    from data_prep.store.describe import describe

    typer.echo(describe(store))


@app.command("export")
def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store to read.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="netCDF file to write.")],
) -> None:
    """Write a store as CF netCDF, for other tools."""
    from data_prep.store.export import export_netcdf

    with progress("states") as update:
        export_netcdf(store, out, progress=update)
    typer.echo(f"file: {out}")
