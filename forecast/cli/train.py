"""Command that trains a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.layout import BEST
from forecast.cli.console import say
from forecast.cli.options import Overrides, Preset, StoreOption


def train(
    preset: Preset,
    data: StoreOption,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that stopped.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Build the model, take one step and report its cost; write nothing."
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
        raise typer.Exit(128 + result.stopped_by)  # the exit code of shells for a signal
    if not dry_run:
        say(f"package: {out / BEST}")
