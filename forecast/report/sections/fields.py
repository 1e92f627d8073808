"""Sections on the fields of forecasts: maps, an animation, spectra, early ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.plotting.animation.frames import plot_animation
from forecast.plotting.curves import plot_spectrum
from forecast.plotting.ensembles import plot_spread
from forecast.plotting.maps import plot_map
from forecast.report.inputs import Inputs
from forecast.report.page import Section

MOST_CHANNELS = 4
"""Number of channels whose maps and spectra a report shows."""
_MOST_FRAMES = 24


def maps_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show maps of each forecast at its last lead time, with the truth where there is one."""
    for i, path in enumerate(inputs.forecasts):
        file = ForecastFile(path)
        position = int(np.searchsorted(file.steps, file.last_step[0], side="right")) - 1
        truth, lead = _truth_at(inputs, file, position)
        label = file.lead_label(lead)
        for name in file.channel_names[:MOST_CHANNELS]:
            out = folder / f"map_{i}_{name}.png"
            plot_map(path, name, out, lead=label.replace(" ", ""), truth=truth)
            section.picture(out, f"{name} of {path.name} from {file.forecast_label(0)}, {label}")
            if file.n_members > 1:
                out = folder / f"spread_{i}_{name}.png"
                plot_spread(path, name, out, lead=label.replace(" ", ""), truth=truth)
                section.picture(
                    out, f"Mean and spread of {file.n_members} members: {name}, {label}"
                )


def animation_section(inputs: Inputs, section: Section, folder: Path) -> None:
    """Show the first channel of each forecast over its lead times."""
    for i, path in enumerate(inputs.forecasts):
        file = ForecastFile(path)
        out, name = folder / f"animation_{i}.gif", file.channel_names[0]
        every = -(-len(file.steps) // _MOST_FRAMES)
        if len(file.steps) > 1:
            plot_animation(path, name, out, fps=4, every=every, projection="robinson")
            section.picture(out, f"{name} of {path.name} from {file.forecast_label(0)}")


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
            section.text(
                f"All {len(file.init_time)} forecasts of {path.name} have finite values to step "
                f"{n_steps}."
            )
            continue
        section.text(f"{len(ended)} of {len(file.init_time)} forecasts of {path.name} ended early.")
        section.items(
            f"from {file.forecast_label(int(i))} after step {int(file.last_step[i])} of {n_steps}"
            for i in ended[:20]
        )
