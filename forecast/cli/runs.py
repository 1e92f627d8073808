"""Command that lists and compares training runs."""

from __future__ import annotations

from typing import Annotated

import typer


def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs to compare, by name or id."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Experiment whose runs to list; default: all.")
    ] = None,
    uri: Annotated[
        str | None, typer.Option(help="Tracking URI of MLflow; default: sqlite:///mlflow.db.")
    ] = None,
) -> None:
    """List the training runs in MLflow, newest first, or compare some of them."""
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
