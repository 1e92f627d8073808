"""Sections on the model of a run and its training."""

from __future__ import annotations

from pathlib import Path

import yaml

from configs import layout
from configs.load import load_config
from forecast.model.package import load_package
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.training.tracking.recorder import read_metrics
from forecast.training.training_curves import draw_curves


def model_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Describe the model of each run: size, data, training."""
    for run in inputs.runs:
        config = load_config(run / layout.CONFIG_FILE)
        package = run / layout.PACKAGE
        rows: list[tuple[str, object]] = [("run", run.name)]
        if (package / layout.PACKAGE_FILE).is_file():
            forecaster = load_package(package)
            count = sum(p.numel() for p in forecaster.parameters())
            rows += [
                ("parameters", f"{count:,}"),
                ("channels", ", ".join(forecaster.channel_names)),
                ("grid", str(forecaster.grid)),
                ("time step", forecaster.time_step.label),
            ]
        branches = [name for name, value in config.model.branches if value is not None]
        rows += [
            ("branches", ", ".join(branches)),
            ("blocks, channels", f"{config.model.blocks}, {config.model.channels}"),
            ("optimiser steps", config.training.steps),
            ("loss", config.training.loss),
        ]
        section.table(("", ""), rows)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        section.folded("Configuration", text)


def training_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show the losses of each run over its steps."""
    for i, run in enumerate(inputs.runs):
        metrics = run / layout.METRICS_FILE
        if not metrics.is_file() or not read_metrics(metrics):
            continue
        out = folder / f"training_{i}.png"
        draw_curves(metrics, out)
        section.picture(out, f"Training of {run.name}: loss, and errors on validation data")
