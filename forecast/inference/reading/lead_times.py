"""Lead times and valid times of a file, as steps and in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from configs.time.step import TimeStep

_ROUNDING = 1e-5
"""Relative error of a number in a label, which has six digits."""


def lead_label(time_step: TimeStep, steps: int) -> str:
    """A number of steps in words: "6 h", "3 d", "12 months"."""
    if time_step.months is not None:
        n = steps * time_step.months
        return f"{n} month{'s' * (n != 1)}"
    assert time_step.seconds is not None
    seconds = steps * time_step.seconds
    if time_step.seconds % 86400 == 0 or seconds >= 10 * 86400:
        return f"{seconds / 86400:g} d"
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds / 60:g} min"


def time_label(time: np.datetime64, time_step: TimeStep) -> str:
    """A valid time in words: "2001-03" for monthly data, else to the minute."""
    label = time_step.calendar.label(time, "M" if time_step.is_calendar else "m")
    return label.replace("T", " ")


def steps_of(lead_time: xr.DataArray, time_step: TimeStep) -> NDArray[np.int64]:
    """Model steps of the lead times of a file, int (k,)."""
    values: NDArray[Any] = lead_time.values
    if time_step.months is not None:
        return (values // time_step.months).astype(np.int64)
    assert time_step.seconds is not None
    return (values / np.timedelta64(time_step.seconds, "s")).round().astype(np.int64)


def lead_position(
    lead: str | int, steps: NDArray[np.int64], time_step: TimeStep, path: str | Path
) -> int:
    """Return the position of a lead time in a file.

    Args:
        lead: "6h", "2d", "3mo", or a number of hours or months.
        steps: Model steps of the lead times, (k,).
        time_step: Interval of one model step.
        path: File, for the message.

    Raises:
        ValueError: if the file does not have it.
    """
    text = str(lead).strip()
    unit = "mo" if time_step.is_calendar else "h"
    wanted = in_steps(text + unit if text.isdigit() else text, time_step)
    found = np.flatnonzero(steps == wanted)
    if wanted is None or not len(found):
        first, last = (lead_label(time_step, int(steps[i])) for i in (0, -1))
        strides = np.unique(np.diff(steps))
        stride = f" every {lead_label(time_step, int(strides[0]))}" if len(strides) == 1 else ""
        raise ValueError(
            f"{path} has no lead time {text!r}; it has {first} to {last}{stride}, "
            "written as 12h, 2d or 3mo"
        )
    return int(found[0])


def in_steps(text: str, time_step: TimeStep) -> int | None:
    """A lead time in model steps; None where it is not a whole number of them.

    The labels of `lead_label` are lead times, too.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text.strip())
    if parts is None:
        return None
    number, unit = float(parts[1]), parts[2]
    if number == 0:
        return 0
    aliases = {"month": "mo", "months": "mo", "hours": "h", "hour": "h", "days": "d", "day": "d"}
    try:
        lead = TimeStep.parse(f"1{aliases.get(unit, unit)}")
    except ValueError:
        return None
    one, step = (
        (lead.months, time_step.months)
        if time_step.is_calendar
        else (lead.seconds, time_step.seconds)
    )
    if not one or not step:
        return None
    steps = number * one / step
    whole = round(steps)
    return whole if whole and abs(steps - whole) <= _ROUNDING * whole else None
