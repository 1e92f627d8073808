"""Command that forecasts with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.console import progress, say
from forecast.cli.options import StoreOption

ENDED_EARLY = 3
"""Exit code of a rollout in which forecasts ended early because of values that are not finite."""


def rollout(
    packages: Annotated[
        list[Path],
        typer.Argument(
            metavar="PACKAGE...",
            help="Package of a trained model, such as RUN/best; several for an ensemble.",
        ),
    ],
    data: StoreOption,
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
    winds: Annotated[
        bool,
        typer.Option(
            "--winds", help="Write also the winds of vorticity and divergence (vo500 and d500)."
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

    Exit code 3: the file is written, but some of its forecasts ended early.
    """
    from forecast.inference.forecast import run_rollout
    from forecast.training.processes import all_processes
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with all_processes(latitude), progress("steps") as update:
        ended = run_rollout(
            packages,
            data,
            out,
            split=split,
            init_times=init_time,
            n_steps=steps,
            every=every,
            transfer=transfer,
            fill=fill,
            winds=winds,
            forcing=forcing,
            members=members,
            perturbations=perturb or (),
            seed=seed,
            restart=restart,
            progress=update,
        )
    say(f"forecast: {out}")
    if ended:
        raise typer.Exit(ENDED_EARLY)
