"""Rank histograms of ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from configs.layout import CHANNEL, LEAD_TIME
from configs.style import BLUE, INK, new_figure, picture_style
from data_prep.store.outputs import check_output
from forecast.plotting.figure import SUFFIXES, save
from forecast.plotting.scores.files import FORECAST, ScoresFile
from forecast.verification.evaluate import MODEL
from forecast.verification.scores_file import REGION

HISTOGRAM, RANK = "rank_histogram", "rank"


def plot_ranks(
    scores: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str] | None = None,
    region: str | None = None,
) -> None:
    """Draw the rank of the truth among the members of an ensemble.

    The line is the frequency of each rank if truth and members have the same distribution.

    Args:
        scores: Scores file of an ensemble.
        out: Picture: `.png`, `.pdf` or `.svg`.
        variables: Variables to draw, one column each; the first six if None.
        leads: Lead times to draw, one row each; three of them if None.
        region: Region; the globe if None.

    Raises:
        ValueError: If the file has no rank histogram, or a variable, lead time or region is not in
            it.
        FileNotFoundError: If the file does not exist.
        FileExistsError: If the output exists.
    """
    check_output(out, SUFFIXES)
    save(draw_ranks(ScoresFile(scores), variables=variables, leads=leads, region=region), out)


@picture_style()
def draw_ranks(
    file: ScoresFile,
    *,
    variables: Sequence[str] | None = None,
    leads: Sequence[str] | None = None,
    region: str | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `plot_ranks`; `size` is its width and height, inches."""
    if HISTOGRAM not in file.data:
        raise ValueError(
            f"{file.path} has no rank histogram; score a forecast with members with "
            "`forecast evaluate`"
        )
    channels, positions = file.chosen_channels(variables), file.lead_positions(leads, most=3)
    region = file.region(region)
    counts = file.data[HISTOGRAM].sel({REGION: region})
    if FORECAST in counts.dims:
        counts = counts.sel({FORECAST: MODEL})
    counts = counts.transpose(CHANNEL, LEAD_TIME, RANK)
    flat = 1 / counts.sizes[RANK]
    figure = new_figure(*(size or (max(3.2 * len(channels), 5.0), 1.2 + 2.1 * len(positions))))
    panels = figure.subplots(len(positions), len(channels), squeeze=False, sharex=True, sharey=True)
    for line, position in zip(panels, positions, strict=True):
        for axes, channel in zip(line, channels, strict=True):
            values = np.asarray(counts.sel({CHANNEL: channel}).isel({LEAD_TIME: position}).values)
            with np.errstate(invalid="ignore", divide="ignore"):
                frequency = values / values.sum()
            axes.bar(np.arange(len(values)), frequency, width=0.9, color=BLUE)
            axes.axhline(flat, color=INK, linewidth=1, linestyle="--")
            axes.text(0.98, 0.96, file.lead_label(position), transform=axes.transAxes,
                      ha="right", va="top")  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(False, axis="x")
            axes.label_outer()
        line[0].set_ylabel("frequency")
    for axes, channel in zip(panels[0], channels, strict=True):
        axes.set_title(file.long_name(channel))
    for axes in panels[-1]:
        axes.set_xlabel("rank of the truth")
    panels[0, 0].set_ylim(bottom=0)
    where = "" if region == "global" else f", {region}"
    figure.suptitle(f"Rank histograms, {counts.sizes[RANK] - 1} members{where}")
    return figure
