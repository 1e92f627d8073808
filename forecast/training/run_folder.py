"""Folder of a training run: one process at a time, one model for good."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs import layout
from configs.load import dump_config, load_config
from configs.schema import Config
from data_prep.store.outputs import cannot_write, locked, remove_scratch, written_beside
from forecast.training.trainer import StepResult

NON_FINITE_FILE = "non_finite.jsonl"
"""Log of skipped optimiser steps, one JSON object per line."""


def check_run_folder(out: Path, resume: bool) -> None:
    """Raise a FileExistsError if the folder of a new run is there."""
    if out.exists() and not resume:
        raise FileExistsError(
            f"{out} exists already; choose another folder, or go on with --resume"
        )


@contextlib.contextmanager
def run_folder(config: Config, out: Path, resume: bool) -> Iterator[None]:
    """Create the folder or take it up again, and lock it for this process."""
    check_run_folder(out, resume)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(out))
        except FileExistsError:
            raise
        except OSError as error:
            raise cannot_write(out, error) from error
        for folder in (out, out / layout.CHECKPOINTS):
            remove_scratch(folder)
        if (out / layout.CONFIG_FILE).exists():
            _check_same_model(config, out)
        with written_beside(out / layout.CONFIG_FILE, replace=True) as scratch:
            scratch.write_text(dump_config(config), encoding="utf-8")
        yield


def _check_same_model(config: Config, out: Path) -> None:
    """Raise a ValueError if a run to be resumed was started with another model."""
    before = load_config(out / layout.CONFIG_FILE).model.model_dump()
    changed = [
        f"model.{key} from {before.get(key)} to {value}"
        for key, value in config.model.model_dump().items()
        if before.get(key) != value
    ]
    if changed:
        raise ValueError(
            f"{out} was started with another model (changed: {'; '.join(changed)}); resume with "
            f"{out / layout.CONFIG_FILE}, or train to another folder"
        )


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the log of this project to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in layout.LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def record_skipped(run: Path, step: int, result: StepResult, batch: Sequence[str]) -> None:
    """Add a line to the log of optimiser steps that were skipped for a non-finite loss.

    Args:
        run: Run folder.
        step: Number of the step.
        result: Outcome of the step.
        batch: Descriptions of the windows of all ranks.
    """
    report = {
        "step": step,
        "loss": str(result.loss),
        "gradient_norm": str(result.gradient_norm),
        "learning_rate": result.learning_rate,
        "batch": batch,
    }
    with (run / NON_FINITE_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(report) + "\n")
