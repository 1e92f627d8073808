"""Folder of a training run: one process at a time, one model for good."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs import layout
from configs.load import dump_config, load_config
from configs.schema import Config
from data_prep.store.output_paths import cannot_write
from forecast.model.tensor_folder import remove_leftovers
from forecast.training.trainer import StepResult

NON_FINITE_FILE = "non_finite.jsonl"
"""Log of the optimiser steps that were skipped, since their loss was not finite."""


@contextlib.contextmanager
def run_folder(config: Config, out: Path, resume: bool) -> Iterator[None]:
    """Create the folder or take it up again, and lock it for this process."""
    if out.exists() and not resume:
        raise FileExistsError(
            f"{out} exists already; choose another folder, or go on with --resume"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = (out / ".lock").open("w")
    except OSError as error:
        raise cannot_write(out, error) from error
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileExistsError(
                f"another process trains in {out}; wait for it or choose another folder"
            ) from None
        remove_leftovers(out)
        if (out / layout.CONFIG_FILE).exists():
            _check_same_model(config, out)
        partial = out / f".{layout.CONFIG_FILE}.partial-{os.getpid()}"
        partial.write_text(dump_config(config), encoding="utf-8")
        os.replace(partial, out / layout.CONFIG_FILE)
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
    """Send the log of this package to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("forecast")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def record_skipped(run: Path, step: int, result: StepResult, batch: Sequence[str]) -> None:
    """Add a skipped optimiser step to the log of a run.

    Args:
        run: folder of the run.
        step: number of the step.
        result: loss, gradient norm and learning rate of the step.
        batch: windows of all processes, in words.
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
