"""Reports of a comparison: score cards and tables for the terminal and in Markdown."""

from __future__ import annotations

import numpy as np
import xarray as xr

from configs.time.step import TimeStep
from forecast.inference.coordinates import TIME_STEP
from forecast.inference.reading.lead_times import lead_label, steps_of
from forecast.verification.regions import GLOBAL
from forecast.verification.report import aligned, number, shown_positions
from forecast.verification.score_table import RMSE, Score, known_scores
from forecast.verification.scores_file import NOTES
from forecast.verification.significance.intervals import LOWER, UPPER
from forecast.verification.significance.pairing import DIFFERENCE, OF_A, OF_B, SIGNIFICANT

_SHOWN = ("crps", RMSE, "acc")
"""Scores of the tables, in their order; the terminal has the first that there is."""

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def table(found: xr.Dataset) -> str:
    """Return a comparison as text: who is better, the score card, and a table of differences."""
    score = _scores(found)[0]
    lines = [*headline(found), "", _legend(found), ""]
    lines += _text(*_card(found, score))
    for region in found.region.values:
        lines += ["", f"{score.name}, region {region}" if region != GLOBAL else score.name, ""]
        lines += _text(*_differences(found.sel(region=region), score))
    return "\n".join(lines)


def markdown(found: xr.Dataset) -> str:
    """Return a comparison in Markdown, with a card and the tables of each score."""
    lines = [f"# {found.attrs['title']}", "", *(f"- {line}" for line in headline(found)), ""]
    for score in _scores(found):
        lines += [f"## {score.long_name}", "", _legend(found), "", *_rows(*_card(found, score))]
        for region in found.region.values:
            lines += [f"### Region {region}", ""]
            lines += _rows(*_differences(found.sel(region=region), score))
    return "\n".join([*lines, found.attrs["comment"], ""])


def headline(found: xr.Dataset) -> list[str]:
    """Return sentences on which forecast is better for each variable, and notes."""
    score = _scores(found)[0]
    level = f"{100 * found.attrs['confidence']:g} %"
    lines = [
        f"A is {found.attrs['forecast_a']}, B is {found.attrs['forecast_b']}",
        f"{found.attrs['n_common_starts']} starts in common; intervals of {level}",
    ]
    for channel in found.channel.values:
        at = found.sel(channel=channel, region=found.region.values[0])
        marks = [_mark(at.isel(lead_time=i), score) for i in np.flatnonzero(_steps(found) > 0)]
        known = [mark for mark in marks if mark]
        parts = []
        for name in ("A", "B"):
            better, certain = sum(m.upper() == name for m in known), known.count(name)
            if better:
                parts.append(
                    f"{name} is better at {better} of {len(known)} lead times, certain at {certain}"
                )
        if known:
            lines.append(f"{channel} ({score.name}): " + ("; ".join(parts) or "no difference"))
    return lines + str(found.attrs.get(NOTES, "")).splitlines()


def _scores(found: xr.Dataset) -> list[Score]:
    """Return the scores to show."""
    return [known_scores()[name] for name in _SHOWN if name + DIFFERENCE in found]


def _legend(found: xr.Dataset) -> str:
    """Return the meaning of the marks of a score card."""
    level = f"{100 * found.attrs['confidence']:g} %"
    return f"A, B: better, and certain ({level}); a, b: better, not certain; =: equal; -: missing"


def _mark(at: xr.Dataset, score: Score) -> str:
    """Return the mark of one difference; empty if it is missing."""
    difference = float(at[score.name + DIFFERENCE])
    if np.isnan(difference):
        return ""
    if difference == 0:
        return "="
    mark = "A" if (difference < 0) == (score.best == "lowest") else "B"
    return mark if at[score.name + SIGNIFICANT] else mark.lower()


def _card(found: xr.Dataset, score: Score) -> Rows:
    """Return header and rows of marks: variables and regions by lead times."""
    positions = _positions(found)
    leads = _leads(found)
    header = ("variable", "region", *(leads[p] for p in positions))
    rows = []
    for channel in found.channel.values:
        title = str(channel)
        for region in found.region.values:
            at = found.sel(channel=channel, region=region)
            marks = [_mark(at.isel(lead_time=p), score) or "-" for p in positions]
            rows.append((title, str(region), *marks))
            title = ""
    return header, rows


def _differences(found: xr.Dataset, score: Score) -> Rows:
    """Return header and rows of the differences of one region."""
    level = f"{100 * found.attrs['confidence']:g} %"
    columns = ("A", "B", "A - B", "in %", f"{level} interval", "better", "starts")
    header = ("variable", "lead time", *columns)
    leads, rows = _leads(found), list[tuple[str, ...]]()
    for channel, units in zip(found.channel.values, found.channel_units.values, strict=True):
        title = f"{channel}" if score.dimensionless else f"{channel} ({units})"
        for position in _positions(found):
            at = found.sel(channel=channel).isel(lead_time=position)
            a, b, difference, low, high = (
                float(at[score.name + end])
                for end in (OF_A, OF_B, DIFFERENCE, DIFFERENCE + LOWER, DIFFERENCE + UPPER)
            )
            relative = b > 0 and score.best == "lowest" and np.isfinite(difference)
            share = f"{100 * difference / b:+.1f}" if relative else "-"
            interval = "missing" if np.isnan(low) else f"{_signed(low)} to {_signed(high)}"
            mark = _mark(at, score)
            better = {"": "missing", "=": "equal"}.get(mark, mark.upper())
            if mark in ("a", "b"):
                better += " (not certain)"
            rows.append(
                (title, leads[position], number(a), number(b), _signed(difference), share, interval,
                 better, str(int(at.n_starts)))
            )  # fmt: skip
            title = ""
    return header, rows


def _positions(found: xr.Dataset) -> list[int]:
    """Return the positions of the lead times to show."""
    time_step = TimeStep.parse(found.attrs[TIME_STEP])
    counts = found.n_starts
    known = counts.any([dim for dim in counts.dims if dim != "lead_time"]).values
    steps = _steps(found)
    shown = shown_positions(steps[known], time_step.is_calendar)
    return [int(np.flatnonzero(known)[p]) for p in shown]


def _steps(found: xr.Dataset) -> np.ndarray:
    """Return the lead times in steps."""
    return steps_of(found.lead_time, TimeStep.parse(found.attrs[TIME_STEP]))


def _leads(found: xr.Dataset) -> list[str]:
    """Return the lead times in words."""
    time_step = TimeStep.parse(found.attrs[TIME_STEP])
    return [lead_label(time_step, int(s)) for s in _steps(found)]


def _signed(x: float) -> str:
    """Format a difference with three digits and its sign."""
    text = number(x)
    return text if np.isnan(x) or x <= 0 else f"+{text}"


def _text(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table for the terminal, without the blank line above its titles."""
    return aligned(header, rows)[1:]


def _rows(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("|" + "---|" * 2 + "---:|" * (len(header) - 2))
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]
