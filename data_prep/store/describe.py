"""Text summary of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from configs import layout
from configs.time.calendar import GREGORIAN, Times
from configs.time.step import TimeStep
from data_prep.store.arrays import array, channel_attributes, open_store, strings, time_step, times
from data_prep.store.damage import damage_named


def describe(path: str | Path) -> str:
    """Return a summary of a store: grid, channels and their statistics, times, splits, origin.

    Args:
        path: Path of the store.

    Returns:
        Text of several lines.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the path is not a store, or the store is damaged.
    """
    group = open_store(path)
    with damage_named(Path(path)):
        return _described(Path(path), group)


def _described(path: Path, group: zarr.Group) -> str:
    attrs, time, step = group.attrs, times(group), time_step(group)
    fields = array(group, layout.FIELDS)
    lines = [
        ("store", f"{path} ({size_label(_bytes_on_disk(path))} on disk)"),
        ("title", attrs["title"]),
        ("source", attrs["source"]),
        ("grid", f"{attrs[layout.GRID_KIND]} {fields.shape[-2]}×{fields.shape[-1]}"),
        ("time", f"{step.show(time[0])} to {step.show(time[-1])}, {len(time)} times, one every "
                 f"{step}{_gaps(step, time)}"),
    ]  # fmt: skip
    split = strings(group, layout.SPLIT)
    if layout.TRAJECTORY in group:
        cases = sorted(set(strings(group, layout.CASE)))
        lines.append(("trajectories", f"{len(split)}, cases {', '.join(cases)}"))
    parts = [_split_line(group, split, time, step, name) for name in layout.SPLITS]
    lines.append(("splits", "; ".join(part for part in parts if part) or "none"))
    if layout.STATIC in group:
        lines.append(("static", ", ".join(strings(group, layout.CHANNEL_STATIC))))
    if kinds := _climatologies(group):
        lines.append(("climatology", kinds))
    chunks = fields.chunks[-2] < fields.shape[-2]
    n_times = (fields.shards or fields.chunks)[-4]
    rows = f", chunks of {fields.chunks[-2]} rows" if chunks else ""
    lines.append(("blocks", f"{-(-len(time) // n_times)} of {n_times} times{rows}"))
    origin = json.loads(str(attrs[layout.PROVENANCE]))
    names = [str(source.get("name", "settings")) for source in origin["sources"]]
    if names:
        more = f" and {len(names) - 5} more, {len(names)} in all" if len(names) > 5 else ""
        lines.append(("made from", ", ".join(names[:5]) + more))
    if notes := _remarks(attrs.get(layout.PLAN)):
        lines.append(("note", notes))
    made_by = origin["packages"].get("sphere-forecast", "unknown")
    lines.append(("made by", f"sphere-forecast {made_by}; {attrs['history']}"))
    width = max(len(name) for name, _ in lines)
    head = [f"{name:<{width}}  {' '.join(str(value).split())}" for name, value in lines]
    return "\n".join([*head, "", *_channel_table(group)])


def _channel_table(group: zarr.Group) -> list[str]:
    """Return a table with a line for each channel: name, units, statistics, description."""
    names = strings(group, layout.CHANNEL)
    shown = (layout.MEAN, layout.STD, layout.STD_STEP, layout.MINIMUM, layout.MAXIMUM)
    present = [name for name in shown if name in group]
    masked = [False] * len(names)
    if layout.MASK in group:
        masked = [not channel.all() for channel in np.asarray(array(group, layout.MASK)[...])]
    roles = strings(group, f"{layout.CHANNEL}_role")
    moving = str(group.attrs.get(layout.MOVING_MASK, "")).split()
    rows = [("channel", "units", *(name.replace("_", " ") for name in present), "")]
    for c, name in enumerate(names):
        values = [f"{float(np.asarray(array(group, key)[...])[c]):.4g}" for key in present]
        about = channel_attributes(group, layout.CHANNEL, c)
        notes = ["moving mask"] if name in moving else ["masked"] * masked[c]
        if (role := roles[c]) != "prognostic":
            notes.insert(0, role)
        note = f" ({', '.join(notes)})" if notes else ""
        rows.append((name, about["units"], *values, about["long_name"] + note))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(f"{v:<{w}}" for v, w in zip(row, widths, strict=True)).rstrip()
            for row in rows]  # fmt: skip


def _remarks(plans: Any) -> str:
    """Return what the plans of a store remark on its values: forecasts, anomalies."""
    texts = [plans] if isinstance(plans, str) else plans or []
    remarks = [remark for text in texts for remark in json.loads(text).get("remarks", ())]
    return "; ".join(dict.fromkeys(remarks))


def _climatologies(group: zarr.Group) -> str:
    """Return the kinds of climatology of a store."""
    kinds = ["by calendar month"] * (layout.CLIMATOLOGY in group)
    if layout.DAILY_CLIMATOLOGY in group:
        daily = array(group, layout.DAILY_CLIMATOLOGY)
        hours = f"{daily.shape[1]} hour{'s' * (daily.shape[1] != 1)} of the day"
        kinds.append(f"by day of the year and {hours} in a window of {daily.attrs['window']} days")
    return "; ".join(kinds)


def _split_line(group: zarr.Group, split: list[str], time: Times, step: TimeStep, name: str) -> str:
    index = [i for i, of in enumerate(split) if of == name]
    if not index:
        return ""
    if layout.TRAJECTORY in group:
        return f"{name} {len(index)}"
    return f"{name} {len(index)} ({step.show(time[index[0]])} to {step.show(time[index[-1]])})"


def _gaps(step: TimeStep, time: Times) -> str:
    """Return the number of gaps, and the calendar if it is not the standard one."""
    n = int((~step.consecutive(time)).sum())
    gaps = f" with {n} gap{'s' * (n != 1)}" if n else ""
    return gaps + (f", calendar {step.calendar}" if step.calendar != GREGORIAN else "")


def _bytes_on_disk(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())


def size_label(n: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
