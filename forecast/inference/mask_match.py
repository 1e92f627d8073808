"""Comparison of the masks of a store and of a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.model.points.fill import FillMethod, make_fill
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

_FILLED = {"nearest": "from the nearest points", "smooth": "by a smooth extension"}


def match_masks(
    store: Store, names: Sequence[str], needed: Tensor | None, fill: FillMethod | None
) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """Find the points that a model needs and a store does not have.

    Args:
        store: store with the fields, on the grid of the model.
        names: channels of the model, which the store has.
        needed: points at which the model needs values, bool (c, nlat, nlon), in a mesh own rows;
            None if it needs them everywhere. Of a channel whose missing points change with time it
            fills what the store lacks.
        fill: method that fills such points.

    Returns:
        What fills them, and in words how and how many; None and an empty text if there are none.

    Raises:
        ValueError: if there are such points and they are not to be filled, or cannot be.
    """
    if store.mask is None:
        return None, ""
    there = store.mask[[store.channel_names.index(name) for name in names]]
    needed = torch.ones_like(there) if needed is None else needed.cpu()
    moving = torch.tensor([name in store.moving_mask for name in names])[:, None, None]
    needed = needed & (there | ~moving)
    points = torch.stack([needed & ~there, needed, there, there & ~needed])
    missing, total, available, beyond = (
        current().sum_rows(points.sum((-2, -1)).double()).long().tolist()
    )
    unused = _counts(names, beyond)
    if unused:
        log.info("outside the model's mask values of the store are left out: %s", unused)
    found = _counts(names, missing, total)
    if not found:
        return None, ""
    if fill is None:
        raise ValueError(
            f"the mask of {store.path} is not that of the model, which needs values that the "
            f"store does not have: {found}; fill them with --fill nearest or --fill smooth, or "
            "start from a store with the mask of training"
        )
    for name, count in zip(names, available, strict=True):
        if count == 0:
            raise ValueError(
                f"{store.path} has no values of {name} at all to fill from; start from another "
                "store"
            )
    log.info("filled %s, as the store has no values there: %s", _FILLED[fill], found)
    return make_fill(fill, there, needed, store.grid), f"{_FILLED[fill]}, {found}"


def _counts(names: Sequence[str], counts: list[int], total: list[int] | None = None) -> str:
    """Numbers of points by channel, in words, without those that have none."""
    of = [""] * len(names) if total is None else [f" of {n:,}" for n in total]
    return ", ".join(
        f"{name} at {count:,}{all_} points"
        for name, count, all_ in zip(names, counts, of, strict=True)
        if count
    )
