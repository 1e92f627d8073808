"""Report and outputs of a run in MLflow, and the run's package in its model registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs import layout
from configs.load import load_config
from forecast.training.tracking.mlflow_tracker import MLflowTracker
from forecast.training.tracking.recorder import tracked_run_id


@dataclass(frozen=True)
class TrackedRun:
    """Run folder and its run in MLflow.

    Attributes:
        folder: Run folder.
        run_id: Identifier in MLflow.
        uri: URI of MLflow; None for the default.
    """

    folder: Path
    run_id: str
    uri: str | None


def check_run(inputs: Sequence[Path]) -> TrackedRun:
    """Return the tracked run among the inputs of a report.

    Raises:
        ValueError: If there is not exactly one run folder, or MLflow does not have it.
    """
    folders = [path for path in inputs if (path / layout.CONFIG_FILE).is_file()]
    if len(folders) != 1:
        raise ValueError(
            f"{len(folders)} run folders among the inputs; expected one, whose MLflow run takes "
            "the report"
        )
    (folder,) = folders
    run_id = tracked_run_id(folder)
    if run_id is None:
        raise ValueError(
            f"MLflow has no run of {folder}, which was trained with tracking.enabled=false or has "
            "not reached it yet; go on with `forecast train --resume`"
        )
    return TrackedRun(folder, run_id, load_config(folder / layout.CONFIG_FILE).tracking.uri)


def publish(
    run: TrackedRun, page: Path, inputs: Sequence[Path], *, log: bool, register: str | None
) -> str:
    """Log a report with the files that it shows, and register the package of the run.

    Args:
        run: Run that takes them.
        page: Report.
        inputs: Inputs of the report; the run folder itself is left out.
        log: True to log report and files.
        register: Name in the model registry; None to register nothing.

    Returns:
        One line for the user.

    Raises:
        ValueError: If MLflow does not answer, or the run has no model there.
    """
    tracker, said = MLflowTracker(run.uri), []
    try:
        if log:
            tracker.artifact(run.run_id, page, "report")
            for path in inputs:
                if path.resolve() != run.folder.resolve():
                    # MLflow logs the files of a folder without its name.
                    folder = f"report/{path.name}" if path.is_dir() else "report"
                    tracker.artifact(run.run_id, path, folder)
            said.append(f"logged to the MLflow run {run.run_id[:8]} (folder report)")
        if register is not None:
            version = tracker.register(run.run_id, register)
            said.append(f"registered as {register}, version {version}")
    except Exception as error:  # MLflow has its own kinds for every back end
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"MLflow at {tracker.uri} does not take it ({reason}); {page} is written: start the "
            "server, remove the page and run the command again"
        ) from error
    return "; ".join(said)
