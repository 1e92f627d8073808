"""Size of a perturbation of each channel: a fraction of a step, of the spread, or of analyses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.ensemble.options import (
    Option,
    Values,
    by_channel,
    check_channels,
    names,
    positive_number,
)
from forecast.inference.ensemble.perturbation import Setup
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current

_MOST_PAIRS = 64
"""Largest number of times at which two analyses are compared."""


def _positive(text: str) -> float:
    return float(positive_number("1").read(text))


AMPLITUDE = positive_number("0.1")
CHANNELS = names("all")
SCALE = Option(
    "step",
    lambda text: text,
    "step, std or the path of a store of another analysis",
    _positive,
    "a positive number in the unit of the channel",
)
"""Sizes of which the amplitude is a fraction: `step`, the standard deviation of the difference of
two states one step apart; `std`, that of a state about the baseline; or, by the path of a store of
another analysis, the root mean square difference of the two analyses. `scale.CHANNEL` is a size in
the unit of the channel."""


def amplitudes(values: Values, setup: Setup) -> Tensor:
    """Return the standard deviation of the perturbation of each channel, its unit, (c, 1, 1).

    It is 0 for channels that are not perturbed.

    Args:
        values: Values of the options `amplitude`, `scale` and `channels`.
        setup: Model and data.

    Raises:
        ValueError: If a channel is unknown, or the other analysis does not fit.
    """
    fed_back = setup.fed_back
    chosen = fed_back if values["channels"] is None else values["channels"]
    check_channels(chosen, fed_back, "channels")
    place = {v.name: c for c, v in enumerate(setup.channels)}
    fraction = by_channel(values, "amplitude", fed_back)
    size = _sizes(values, setup)
    out = torch.zeros(len(setup.channels))
    for name, share, given in zip(
        fed_back, fraction, by_channel(values, "scale", fed_back), strict=True
    ):
        if name in chosen:
            c = place[name]
            out[c] = share * (given if isinstance(given, float) else float(size[c]))
    return out[:, None, None].to(setup.device)


def _sizes(values: Values, setup: Setup) -> Tensor:
    """Return the size of which the amplitude is a fraction, of each channel, (c,)."""
    match values["scale"]:
        case "step":
            return setup.normalizer.std_step
        case "std":
            return setup.normalizer.std
        case path if Path(path).exists():
            return _analysis_difference(setup, Store(path))
        case other:
            raise ValueError(f"scale is {other!r}; expected {SCALE.allowed}")


def _analysis_difference(setup: Setup, other: Store) -> Tensor:
    """Return the root mean square difference of two analyses of each channel, (c,)."""
    store, wanted = setup.store, [v.name for v in setup.channels]
    if store is None:
        raise ValueError(
            f"scale is {other.path}, and there is no store to compare it with; "
            "expected step, std or scale.CHANNEL=NUMBER"
        )
    if other.grid != store.grid or other.has_trajectories or store.has_trajectories:
        raise ValueError(
            f"scale is {other.path}, on {other.grid}; expected a store of a time "
            f"series on {store.grid}, as {store.path}"
        )
    if absent := [name for name in wanted if name not in other.channel_names]:
        raise ValueError(
            f"scale is {other.path}, which lacks {', '.join(absent)}; it has "
            f"{', '.join(other.channel_names)}"
        )
    places = other.find(store.time)
    common = np.flatnonzero(places >= 0)
    if not len(common):
        raise ValueError(f"scale is {other.path}, which has no time in common with {store.path}")
    common = common[np.linspace(0, len(common) - 1, min(len(common), _MOST_PAIRS)).astype(int)]
    ours, theirs = ([s.channel_names.index(name) for name in wanted] for s in (store, other))
    area = store.grid.area_weights[own_rows(store.grid)]
    total = torch.zeros(2, len(wanted), dtype=torch.float64)
    for i in common.tolist():
        difference = (store.state(i)[ours] - other.state(int(places[i]))[theirs]).double()
        there = difference.isfinite()
        total[0] += (area * difference.where(there, 0.0).square()).sum((-2, -1))
        total[1] += (area * there).sum((-2, -1))
    squares, shares = current().sum_rows(total)
    return (squares / shares.clamp(min=1e-9)).sqrt()
