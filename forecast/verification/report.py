"""Reports of scores: a table for the terminal and a summary in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from configs.time.step import TimeStep
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reading.lead_times import lead_label, steps_of
from forecast.verification.regions import GLOBAL
from forecast.verification.score_table import SEEPS, Score, known_scores
from forecast.verification.scores_file import NOTES, VECTORS

_NICE = {False: (1, 2, 5, 10, 20, 50), True: (1, 2, 3, 6, 9, 12, 24, 36, 60, 120)}
"""Lead times that a table shows, in steps, by whether the steps are months."""
_ROWS = 7
_ROUNDING = 1e-4  # relative to the rmse: a bias below is shown as 0


def table(scores: xr.Dataset) -> str:
    """Return the scores at a few lead times as text with aligned columns, one table a region."""
    lines = headline(scores)
    for region in scores.region.values:
        lines += ["", *([f"region {region}", ""] if region != GLOBAL else [])]
        lines += aligned(*cells(scores.sel(region=region)))
    return "\n".join(lines)


def aligned(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table."""
    upper = tuple(title.split("|")[0] if "|" in title else "" for title in header)
    lower = tuple(title.split("|")[-1] for title in header)
    widths = [max(len(row[i]) for row in (upper, lower, *rows)) for i in range(len(header))]
    lines = []
    for row in (upper, lower, tuple("-" * w for w in widths), *rows):
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(w) for cell, w in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown(scores: xr.Dataset) -> str:
    """Return a summary of the scores in Markdown, one table a region."""
    lines = [f"# {scores.attrs['title']}", "", *(f"- {line}" for line in headline(scores)), ""]
    for region in scores.region.values:
        header, rows = cells(scores.sel(region=region))
        lines += [f"## Region {region}", ""] if region != GLOBAL else []
        lines.append("| " + " | ".join(title.replace("|", " ") for title in header) + " |")
        lines.append("|" + "---|" * 2 + "---:|" * (len(header) - 2))
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    lines += [scores.attrs["comment"], "", f"Source: {scores.attrs['source']}", ""]
    return "\n".join(lines)


def headline(scores: xr.Dataset) -> list[str]:
    """Return sentences on the lead times at which the model beats each baseline, and notes.

    The sentences are about the whole globe.
    """
    time_step = TimeStep.parse(scores.attrs[TIME_STEP])
    steps = steps_of(scores.lead_time, time_step)
    sentences = []
    for baseline in scores.baseline.values if "baseline" in scores.coords else ():
        for channel in scores.channel.values:
            at = {"baseline": baseline, "channel": channel, "region": GLOBAL}
            skill = scores.skill.sel(at).values
            scored = np.flatnonzero((steps > 0) & (scores.n_forecasts.values > 0))
            if not len(scored):
                continue
            better = skill[scored] > 0  # False for NaN, where a forecast had ended
            lead = [lead_label(time_step, int(s)) for s in steps[scored]]
            if better.all():
                says = f"better than {baseline} at all lead times, to {lead[-1]}"
            elif not better.any():
                says = f"not better than {baseline} at any lead time"
            elif better[: better.argmin()].all() and not better[better.argmin() :].any():
                says = f"better than {baseline} up to {lead[int(better.argmin()) - 1]}"
                says = says if better[0] else f"not better than {baseline} at {lead[0]}"
            else:
                says = (
                    f"better than {baseline} at {better.sum()} of {len(lead)} lead times, "
                    f"{lead[int(better.argmax())]} the first"
                )
            if better.any() and "skill_lower" in scores:
                certain = (scores.skill_lower.sel(at).values[scored] > 0) & better
                says += f" (certain at {certain.sum()} of {better.sum()} lead times)"
            sentences.append(f"{channel}: {says}")
    return sentences + scores.attrs.get(NOTES, "").splitlines()


def cells(scores: xr.Dataset) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of the table of one region; a bar marks a line break in a title."""
    scores = scores.isel(lead_time=np.flatnonzero(scores.n_forecasts.values > 0))
    names = [str(name) for name in scores.forecast.values]
    header = ("variable", "lead time", *(f"rmse|{name}" for name in names))
    header += tuple(f"skill vs|{name}" for name in names[1:])
    columns = [s for s in known_scores().values() if s.column and s.name in scores]
    header += (*(str(s.column) for s in columns), "forecasts")
    time_step = TimeStep.parse(scores.attrs[TIME_STEP])
    steps = steps_of(scores.lead_time, time_step)
    vectors = {str(v) for v in str(scores.attrs.get(VECTORS, "")).split()}
    rows = []
    for channel, units in zip(scores.channel.values, scores.channel_units.values, strict=True):
        title = f"{channel} ({units})"
        for position in shown_positions(steps, time_step.is_calendar):
            at = scores.isel(lead_time=position).sel(channel=channel)
            model = at.sel(forecast=names[0])
            cells = [title, lead_label(time_step, int(steps[position]))]
            cells += [number(x) for x in at.rmse.values]
            cells += [_fraction(x) for x in (at.skill.values if "skill" in at else ())]
            cells += [_cell(s, model, channel in vectors or s is SEEPS) for s in columns]
            cells.append(str(int(at.n_forecasts)))
            rows.append(tuple(cells))
            title = ""
    return header, rows


def shown_positions(steps: Sequence[int] | np.ndarray, months: bool) -> list[int]:
    """Return the positions of the lead times that the table shows."""
    known = [int(s) for s in steps]
    nice = [s for s in _NICE[months] if s in known]
    nice += [s for s in (100 * 10**i * j for i in range(6) for j in (1, 2, 5)) if s in known]
    positive = [s for s in known if s > 0]
    if len(nice) < min(3, len(positive)):
        nice = positive[:: max(1, len(positive) // _ROWS)]
    chosen = sorted({*nice, *positive[-1:]})
    while len(chosen) > _ROWS:  # keep the first and the last
        del chosen[len(chosen) // 2]
    return [known.index(s) for s in chosen]


def _cell(score: Score, model: xr.Dataset, may_lack: bool) -> str:
    """Format a score of the model; a bias of the size of rounding errors is 0.

    Args:
        score: Score.
        model: Scores of one channel and lead time.
        may_lack: True if the score is not one of all channels, or the channel is a vector.
    """
    value, rmse = model[score.name].item(), model.rmse.item()
    if may_lack and np.isnan(value) and not np.isnan(rmse):
        return "-"
    if score.perfect == 1:
        return _fraction(value)
    rounding = not score.dimensionless and abs(value) < _ROUNDING * rmse
    return "0" if rounding else number(value)


def number(x: float) -> str:
    """Format a score with three digits."""
    return "missing" if np.isnan(x) else f"{x:#.3g}".removesuffix(".")


def _fraction(x: float) -> str:
    return "missing" if np.isnan(x) else f"{x:.2f}"
