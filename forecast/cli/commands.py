"""The commands that train a model, forecast with it and score the forecast."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from configs.layout import BEST

Preset = Annotated[
    str, typer.Argument(metavar="PRESET", help="Preset by name, or YAML file by path.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides, as training.steps=100."),
]
ENDED_EARLY = 3
"""Exit code of a rollout in which forecasts ended early, being no longer finite."""

StoreOption = Annotated[Path, typer.Option("--data", metavar="STORE", help="Store to read.")]


def train(
    preset: Preset,
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Build all, take one step, say what it costs; write nothing."
        ),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Train a model on a store and write its package."""
    from configs.load import load_config

    config = load_config(preset, overrides or ())
    from forecast.training.train import train as run
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    result = run(config, data, out, resume=resume, dry_run=dry_run)
    if result.stopped_by is not None:
        raise typer.Exit(128 + result.stopped_by)  # as shells have it
    if not dry_run:
        _say(f"package: {out / BEST}")


def rollout(
    package: Annotated[
        Path, typer.Argument(metavar="PACKAGE", help="Package of a trained model, as RUN/best.")
    ],
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Forecast to write: .nc or .zarr.")],
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Start from all of a split.")
    ] = "test",
    init_time: Annotated[
        list[str] | None,
        typer.Option(metavar="TIME", help="Start here instead of from a split; may be repeated."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Time steps; default: as the run was configured.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Write each n-th step.")] = 1,
    transfer: Annotated[
        Literal["fields", "operators"],
        typer.Option(
            help="On another grid than that of training: take the fields to the training grid "
            "and back, or discretise the operators there."
        ),
    ] = "fields",
    fill: Annotated[
        Literal["nearest"] | None,
        typer.Option(
            help="Fill points of the initial states that the model needs and the store's mask "
            "leaves out."
        ),
    ] = None,
    latitude: Annotated[
        int | None,
        typer.Option(min=1, help="Of several processes: that share the rows of a forecast; all."),
    ] = None,
) -> None:
    """Forecast with a trained model and write a CF file.

    Exit code 3: the file is there, and some of its forecasts ended early.
    """
    from forecast.cli.console import progress
    from forecast.inference.forecast import run_rollout
    from forecast.training.processes import all_processes
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with all_processes(latitude), progress("steps") as update:
        ended = run_rollout(
            package,
            data,
            out,
            split=split,
            init_times=init_time,
            n_steps=steps,
            every=every,
            transfer=transfer,
            fill=fill,
            progress=update,
        )
    _say(f"forecast: {out}")
    if ended:
        raise typer.Exit(ENDED_EARLY)


def evaluate(
    forecast: Annotated[
        Path, typer.Argument(metavar="FORECAST", help="Forecast file of `forecast rollout`.")
    ],
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="SCORES", help="Scores to write: .nc.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="persistence or climatology; may be repeated; default: both."),
    ] = None,
    climatology: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE|STORE",
            help="Take climatology and means from here; default: from the store.",
        ),
    ] = None,
) -> None:
    """Score a forecast against the truth and the baselines, and print a table."""
    from forecast.cli.console import progress
    from forecast.training.processes import all_processes
    from forecast.verification.evaluate import evaluate as run
    from forecast.verification.report import table
    from sphere_ops.memory import keep_freed_memory

    keep_freed_memory()
    with all_processes(latitude=1), progress("forecasts") as update:
        scores = run(
            forecast, data, out, baselines=baseline, climatology=climatology, progress=update
        )
    _say(table(scores))
    _say(f"scores: {out}")


def _say(text: str) -> None:
    """Print what the first of several processes says for all."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text)


def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Compare these, by name or id: what differs."),
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only runs of this experiment.")] = None,
    uri: Annotated[
        str | None, typer.Option(help="MLflow's store; default sqlite:///mlflow.db.")
    ] = None,
) -> None:
    """List the training runs that MLflow holds, the newest first, or compare some."""
    from forecast.training.tracking.comparison import compare, find_runs
    from forecast.training.tracking.mlflow_tracker import list_runs, page_hint

    found = list_runs(uri, experiment)
    if names:
        typer.echo(compare(find_runs(found, names)))
        return
    for run in found:
        error = run.metrics.get("validation/relative_l2")
        shown = "not validated" if error is None else f"validation relative L2 {error:.4g}"
        line = f"{run.started:%Y-%m-%d %H:%M}  {run.run_id[:8]}  {run.status:<8}  {shown:<32}"
        typer.echo(f"{line}  {run.name}")
    typer.echo(page_hint(uri), err=True)


def doctor() -> None:
    """Say what is installed and what works here: devices, kernels, tracking, coastlines."""
    from forecast.cli.doctor import report

    typer.echo(report())
