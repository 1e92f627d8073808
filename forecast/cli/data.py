"""Commands that make, describe or export a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.console import progress
from forecast.cli.options import Overrides, Preset
from forecast.cli.words import divided

if TYPE_CHECKING:
    from configs.schema import Config, FilesData

app = typer.Typer(help="Make, check, describe or export a training store.", no_args_is_help=True)

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE... [KEY=VALUE]...",
        help="netCDF, GRIB or zarr files, globs, folders or addresses (https://, s3://, gs://), "
        "and overrides such as data.times.first=1990.",
    ),
]
_NO_INPUT = "no input file is given; name netCDF, GRIB or zarr files, globs or addresses"


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
            f"the data of {preset} come from {config.source}, not from the shallow-water solver; "
            f"use `forecast data {'ingest' if config.source == 'files' else 'solve'}`, or a preset "
            "such as swe"
        )
    # Imported after the check of the configuration, which then answers at once.
    from data_prep.shallow_water.generate import generate_shallow_water
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with progress("trajectories") as update:
        generate_shallow_water(config, out, progress=update)
    typer.echo(f"store: {out}")


@app.command("solve")
def solve(
    preset: Preset,
    out: Annotated[Path, typer.Option(metavar="STORE", help="Store to write.")],
    overrides: Overrides = None,
) -> None:
    """Solve another equation set and write its trajectories to a store.

    The data of the preset name it: data.source is barotropic,
    diffusion_reaction or darcy.
    """
    from configs.load import load_config

    config = load_config(preset, overrides or ()).data
    if config.source == "files" or config.source == "shallow_water":
        command = {"files": "ingest", "shallow_water": "swe"}[config.source]
        raise ValueError(
            f"the data of {preset} come from {config.source}; use `forecast data {command}`, or a "
            "preset such as barotropic"
        )
    # Imported after the check of the configuration, which then answers at once.
    from data_prep.equations.generate import generate
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with progress("trajectories") as update:
        generate(config, out, progress=update)
    typer.echo(f"store: {out}")


@app.command("gcm")
def gcm(
    preset: Preset,
    out: Annotated[Path, typer.Option(metavar="STORE", help="Store to write.")],
    overrides: Overrides = None,
    python: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON",
            help="Python interpreter that has the model; default: "
            "$SPHERE_FORECAST_GCM_PYTHON, or this one.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="Go on with the run of a store to a later gcm.last, and add its days."
        ),
    ] = False,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Keep the netCDF files of each month.")
    ] = False,
) -> None:
    """Run a circulation model of the atmosphere and write its states to a store.

    The section gcm of the preset describes the run. A run that was
    interrupted goes on with the same command.
    """
    from configs.load import load_config

    config = load_config(preset, overrides or ())
    from data_prep.gcm.run import generate

    generate(config, out, python=python, append=append, keep_files=keep_files, progress=progress)
    typer.echo(f"store: {out}")


@app.command("inspect")
def inspect(
    words: Words,
    preset: Annotated[
        str | None,
        typer.Option(metavar="PRESET", help="Preset, or YAML file, whose needs are compared."),
    ] = None,
) -> None:
    """Describe gridded files: variables, levels, times, grids, units, gaps, missing values.

    With a preset, also what a store would take from them, and what is missing.
    """
    overrides, sources = divided(words)
    if not sources:
        raise ValueError(_NO_INPUT)
    if overrides and preset is None:
        raise ValueError(f"{overrides[0]} changes a preset; name one with --preset")
    if preset is None:
        from data_prep.ingest.inspect import describe_sources

        typer.echo(describe_sources(sources))
        return
    config, data = _files_config(preset, overrides)
    from data_prep.ingest.inspect import describe_sources

    typer.echo(describe_sources(sources, data, config.table))


@app.command("ingest")
def ingest(
    preset: Preset,
    words: Words,
    out: Annotated[Path, typer.Option(metavar="STORE", help="Store to write.")],
    append: Annotated[
        bool, typer.Option("--append", help="Add later times to a store that exists.")
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory to use, such as 2GiB; default: half of what is free."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers make the store."),
    ] = None,
) -> None:
    """Read ERA5-style gridded files and write them to a store.

    The plan is printed before anything is written. An ingestion that was interrupted goes on with
    the same command.
    """
    overrides, sources = divided(words)
    if not sources:
        raise ValueError(_NO_INPUT)
    config, data = _files_config(preset, overrides)
    from data_prep.ingest.inspect import plan_lines
    from data_prep.ingest.plan import Plan
    from data_prep.ingest.run import ingest
    from forecast.training.display import duration

    def announce(plan: Plan, seconds: float) -> None:
        typer.echo("\n".join([*plan_lines(plan), f"estimated time: {duration(seconds)}"]))

    with progress("states") as update:
        ingest(
            sources, data, out, table=config.table, append=append, scheduler=scheduler,
            memory=None if memory is None else _bytes(memory), progress=update, announce=announce,
        )  # fmt: skip
    typer.echo(f"store: {out}")


@app.command("verify")
def verify(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Store to check.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files that it was made from, to compare."),
    ] = None,
    states: Annotated[
        int, typer.Option(min=1, help="Number of states to compare with the files.")
    ] = 8,
) -> None:
    """Check a store: structure, checksums, statistics, and a sample of values against its files."""
    from data_prep.store.verify import verify

    problems = [str(problem) for problem in verify(store)]
    if words:
        from data_prep.ingest.verify import compare_with_sources

        problems += compare_with_sources(store, words, states=states)
    if problems:
        raise ValueError(f"{store} has {len(problems)} problems: " + "; ".join(problems[:5]))
    typer.echo(f"{store} is as it was written" + " and agrees with its sources" * bool(words))


def _files_config(preset: str, overrides: list[str]) -> tuple[Config, FilesData]:
    """Return a configuration whose data come from files, and its section of data."""
    from configs.load import load_config

    config = load_config(preset, overrides)
    if config.data.source != "files":
        command = "swe" if config.data.source == "shallow_water" else "solve"
        raise ValueError(
            f"the data of {preset} come from the solver of {config.data.source}, not from files; "
            f"use `forecast data {command}`, or a preset such as reanalysis"
        )
    return config, config.data


def _bytes(text: str) -> int:
    """Return a size such as 2GiB in bytes."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise ValueError(f"--memory is {text!r}; expected a size such as 2GiB or 500MB") from None


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
