"""Reliability diagrams of the probabilities of events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs.layout import CHANNEL, LEAD_TIME
from configs.style import CONTOURS, INK, new_figure, picture_style
from data_prep.store.outputs import check_output
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.scores.files import FORECAST, ScoresFile
from forecast.verification.evaluate import MODEL
from forecast.verification.scores_file import REGION

Array = NDArray[np.floating[Any]]

AREA, PROBABILITY, OBSERVED = (f"reliability_{n}" for n in ("area", "probability", "observed"))
THRESHOLD, BIN = "threshold", "probability_bin"
_LARGEST_MARKER = 120.0  # area in points², of a bin with all of the forecasts


def plot_reliability(
    scores: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str] | None = None,
    region: str | None = None,
) -> None:
    """Draw the frequency of events against their forecast probability.

    The probabilities of a reliable forecast are on the diagonal. The area of a point is the share
    of forecasts with such a probability.

    Args:
        scores: Scores file with thresholds.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one column each; those with thresholds if None.
        leads: Lead times to draw, one row each; two of them if None.
        region: Region; the globe if None.

    Raises:
        ValueError: If the file has no probabilities, or a variable, lead time or region is not in
            it.
        FileNotFoundError: If the file does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    save(draw_reliability(ScoresFile(scores), variables=variables, leads=leads, region=region), out)


@picture_style()
def draw_reliability(
    file: ScoresFile,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str] | None = None,
    region: str | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_reliability`; `size` is its width and height, inches."""
    if OBSERVED not in file.data:
        raise ValueError(
            f"{file.path} has no probabilities of events; score an ensemble with thresholds with "
            "`forecast evaluate`"
        )
    region = file.region(region)
    data = file.data[[AREA, PROBABILITY, OBSERVED]].sel({REGION: region})
    data = data.sel({FORECAST: MODEL}) if FORECAST in data.dims else data
    with_events = data[OBSERVED].notnull().any([d for d in data[OBSERVED].dims if d != CHANNEL])
    known = [name for name, found in zip(file.channels, with_events.values, strict=True) if found]
    channels = [name for name in file.chosen_channels(variables or known) if name in known]
    if not channels:
        raise ValueError(
            f"{file.path} has no events of {', '.join(variables or file.channels)}; it has some of "
            f"{', '.join(known) or 'no variable'}"
        )
    positions = file.lead_positions(leads, most=2)
    width, height = max(3.6 * len(channels), 4.4), 1.1 + 3.3 * len(positions)
    figure = new_figure(*(size or (width, height)))
    panels = figure.subplots(len(positions), len(channels), squeeze=False, sharex=True, sharey=True)
    for line, position in zip(panels, positions, strict=True):
        for axes, channel in zip(line, channels, strict=True):
            _draw(axes, data.sel({CHANNEL: channel}).isel({LEAD_TIME: position}))
            axes.text(0.03, 0.97, file.lead_label(position), transform=axes.transAxes, va="top")
            axes.label_outer()
        line[0].set_ylabel("observed frequency")
    for axes, channel in zip(panels[0], channels, strict=True):
        axes.set_title(file.long_name(channel))
        axes.legend(loc="lower right")
    for axes in panels[-1]:
        axes.set_xlabel("forecast probability")
    where = "" if region == "global" else f", {region}"
    figure.suptitle(f"Reliability{where}\nThe area of a point is its share of the forecasts")
    return figure


def _draw(axes: Axes, data: xr.Dataset) -> None:
    """Draw the curves of the thresholds of one variable at one lead time."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    colours = iter(CONTOURS * data.sizes[THRESHOLD])
    for threshold in range(data.sizes[THRESHOLD]):
        of_event = data.isel({THRESHOLD: threshold})
        area, probability, observed = (of_event[n].values for n in (AREA, PROBABILITY, OBSERVED))
        known = area > 0
        if not known.any():
            continue
        colour = next(colours)
        x, y = probability[known] / area[known], observed[known] / area[known]
        label = str(of_event[THRESHOLD].item()) if THRESHOLD in of_event.coords else None
        axes.plot(x, y, color=colour, label=label)
        axes.scatter(x, y, _LARGEST_MARKER * area[known] / area[known].sum() + 4, colour)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
