"""Command that forecasts with a trained model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.console import progress, say
from forecast.cli.starts import starts_from
from forecast.cli.words import divided

ENDED_EARLY = 3
"""Exit code of a rollout in which forecasts ended early because of values that are not finite."""
IMPLAUSIBLE = 4
"""Exit code of a rollout in which all values are finite, but some are not plausible."""


def rollout(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PACKAGE... [KEY=VALUE]...",
            help="Package of a trained model, such as RUN/best; several for an ensemble; a cascade "
            "such as SHORT/best,1d,LONG/best, whose second model goes on after a day. Settings to "
            "read files with, such as data.rename.T2M=t2m.",
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="STORE|FILE",
            help="Store with the initial states; or netCDF, GRIB or zarr files, globs, folders or "
            "addresses, may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Forecast to write: .nc or .zarr.")],
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Split whose initial states to start from; default: the package's."),
    ] = None,
    init_time: Annotated[
        list[str] | None,
        typer.Option(metavar="TIME", help="Initial time, in place of a split; may be repeated."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of time steps; default: the package's.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Interval of written steps.")] = 1,
    transfer: Annotated[
        Literal["fields", "operators"],
        typer.Option(
            help="Method on a grid other than that of training: interpolate the fields to the "
            "training grid and back, or discretise the operators on the new grid."
        ),
    ] = "fields",
    fill: Annotated[
        Literal["nearest", "smooth"] | None,
        typer.Option(
            help="Method to fill points of the initial states that the model needs and the mask "
            "of the store leaves out: the nearest points, or a smooth extension."
        ),
    ] = None,
    derive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Derived field to write too, may be repeated: winds, vorticity (and divergence), "
            "wind_speed, geostrophic_wind, potential_vorticity.",
        ),
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="Channels and derived variables to write; default: all."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="PERIOD",
            help="Write mean, standard deviation, minimum and maximum over periods of valid time: "
            "12h, 1d, 10d, 1mo, 1y, or all for the whole forecast.",
        ),
    ] = None,
    snapshots: Annotated[
        bool,
        typer.Option("--snapshots/--no-snapshots", help="Write the states at the lead times."),
    ] = True,
    layout: Annotated[
        Literal["cf", "weatherbench2"], typer.Option(help="Names and dimensions of the file.")
    ] = "cf",
    stop_implausible: Annotated[
        bool,
        typer.Option(
            "--stop-implausible", help="End forecasts whose values are no longer plausible."
        ),
    ] = False,
    forcing: Annotated[
        str | None,
        typer.Option(
            metavar="STORE|climatology",
            help="Source of the fields that the model is given at every time; default: the store "
            "of the initial states.",
        ),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of ensemble members of each forecast."),
    ] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:OPTION=VALUE,...]",
            help="Difference of the members, such as field:amplitude=0.1,length=500km; kinds: "
            "field, balanced, bred, lagged; may be repeated; see docs/ensembles.md.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers of members.")] = 0,
    limiter: Annotated[
        bool,
        typer.Option(
            "--limiter/--no-limiter",
            help="Hold forecasts within model.spectral_limit and model.range_limit.",
        ),
    ] = True,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Go on with an unfinished forecast after an interruption; begin if there is none.",
        ),
    ] = False,
    latitude: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of processes that share the rows of a forecast; default: all."
        ),
    ] = None,
) -> None:
    """Forecast with a trained model and write a CF file.

    Exit code 3: the file is written, but some of its forecasts ended early because a value was not
    finite. Exit code 4: the same because of implausible values, or some have such values.
    """
    from forecast.inference.ensemble.members import Ensemble
    from forecast.inference.failures import EarlyStop
    from forecast.inference.forecast import run_rollout
    from forecast.inference.output.options import OutputOptions
    from forecast.training.processes import all_processes
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    overrides, packages = divided(words)
    if not packages:
        raise ValueError(f"{' '.join(words)} names no package; expected one, such as RUN/best")
    names = (name.strip() for text in variables or () for name in text.split(","))
    output = OutputOptions(
        derive=tuple(derive or ()),
        variables=tuple(name for name in names if name),
        mean=mean,
        snapshots=snapshots,
        layout=layout,
        stop_implausible=stop_implausible,
    )
    starts = partial(
        starts_from,
        data,
        packages,
        init_time or (),
        n_steps=steps,
        own_forcing=forcing is None,
        own_grid=transfer == "operators",
        n_earlier=Ensemble(members, perturb or (), seed, len(packages)).n_earlier,
        overrides=overrides,
    )
    with all_processes(latitude), starts() as (store, every_time), progress("steps") as update:
        reports = run_rollout(
            packages,
            store,
            out,
            split=split or every_time,
            init_times=init_time,
            n_steps=steps,
            every=every,
            transfer=transfer,
            fill=fill,
            output=output,
            forcing=forcing,
            members=members,
            perturbations=perturb or (),
            seed=seed,
            limiter=limiter,
            restart=restart,
            progress=update,
        )
    say(f"forecast: {out}")
    if reports:
        early = any(isinstance(report, EarlyStop) for report in reports)
        raise typer.Exit(ENDED_EARLY if early else IMPLAUSIBLE)
