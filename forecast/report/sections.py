"""Sections of a report, each from the inputs that it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from configs import layout
from configs.load import load_config
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile, open_output
from forecast.model.package import load_package
from forecast.plotting.curves import plot_scores, plot_spectrum
from forecast.plotting.maps import plot_map
from forecast.report.inputs import Inputs
from forecast.report.page import Section
from forecast.training.tracking.recorder import read_metrics
from forecast.training.training_curves import draw_curves
from forecast.verification.report import cells, headline

MOST_CHANNELS = 4
"""Number of channels whose maps and spectra a report shows."""

Drawer = Callable[[Inputs, Section, Path], None]
"""Function that fills a section; it leaves one empty that the inputs do not give. The folder is for
pictures on their way into the page."""


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


def scores_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show the table of scores and their curves over lead time."""
    for i, path in enumerate(inputs.scores):
        with open_output(path, "scores file", "forecast evaluate") as scores:
            section.items(headline(scores))
            for region in scores.region.values:
                if len(scores.region) > 1:
                    section.text(f"Region: {region}")
                header, rows = cells(scores.sel(region=region))
                section.table([title.replace("|", " ") for title in header], rows)
        out = folder / f"scores_{i}.png"
        plot_scores(path, out)
        section.picture(out, f"Scores of {path.name} over lead time")
        with open_output(path, "scores file", "forecast evaluate") as scores:
            section.text(str(scores.attrs.get("comment", "")))


def maps_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show maps of each forecast at its last lead time, with the truth where there is one."""
    for i, path in enumerate(inputs.forecasts):
        file = ForecastFile(path)
        for name in file.channel_names[:MOST_CHANNELS]:
            out = folder / f"map_{i}_{name}.png"
            position = int(np.searchsorted(file.steps, file.last_step[0], side="right")) - 1
            truth, lead = _truth_at(inputs, file, position)
            plot_map(path, name, out, lead=file.lead_label(lead).replace(" ", ""), truth=truth)
            section.picture(
                out, f"{name} of {path.name} from {file.forecast_label(0)}, {file.lead_label(lead)}"
            )


def _truth_at(inputs: Inputs, file: ForecastFile, last: int) -> tuple[Path | None, int]:
    """Return the store and the last lead time that it has; no store if it has none of them."""
    if inputs.data is None:
        return None, last
    known = np.isin(file.valid_time[0, : last + 1], Store(inputs.data).time)
    positive = np.flatnonzero(known & (file.steps[: last + 1] > 0))
    return (inputs.data, int(positive[-1])) if len(positive) else (None, last)


def spectra_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show power spectra of forecast and truth."""
    for i, path in enumerate(inputs.forecasts if inputs.data is not None else ()):
        file, store = ForecastFile(path), Store(str(inputs.data))
        masked = set() if store.mask is None else {
            name for name, mask in zip(store.channel_names, store.mask, strict=True)
            if not bool(mask.all())
        }  # fmt: skip
        names = [n for n in file.channel_names if n not in masked][:MOST_CHANNELS]
        if names:
            out = folder / f"spectra_{i}.png"
            plot_spectrum(path, str(inputs.data), out, variables=names)
            section.picture(out, f"Power by spherical-harmonic degree of {path.name}")


def stability_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """List the forecasts that ended early."""
    for path in inputs.forecasts:
        file = ForecastFile(path)
        ended = np.flatnonzero(file.last_step < file.steps[-1])
        n_steps = int(file.steps[-1])
        if not len(ended):
            section.text(f"All {len(file.init_time)} forecasts of {path.name} have finite values")
            section.parts[-1] = section.parts[-1].replace("</p>", f" to step {n_steps}.</p>")
            continue
        section.text(f"{len(ended)} of {len(file.init_time)} forecasts of {path.name} ended early.")
        section.items(
            f"from {file.forecast_label(int(i))} after step {int(file.last_step[i])} of {n_steps}"
            for i in ended[:20]
        )


def provenance_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """List source and history of all files."""
    rows = []
    for path in (*inputs.forecasts, *inputs.scores, *inputs.comparisons, *inputs.climates):
        with open_output(path, "file", "forecast") as dataset:
            rows.append((path.name, *(_attribute(dataset, n) for n in ("source", "history"))))
    if rows:
        section.table(("file", "source", "history"), rows)


def _attribute(dataset: xr.Dataset, name: str) -> str:
    return str(dataset.attrs.get(name, ""))


SECTIONS: dict[str, Drawer] = {
    "Model": model_section,
    "Training": training_section,
    "Scores": scores_section,
    "Maps": maps_section,
    "Spectra": spectra_section,
    "Stability": stability_section,
    "Provenance": provenance_section,
}
"""Sections by title, in their order."""
