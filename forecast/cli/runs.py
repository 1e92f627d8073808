"""The command that lists and compares training runs."""

from __future__ import annotations

from typing import Annotated

import typer


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
