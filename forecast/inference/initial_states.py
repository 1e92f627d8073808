"""The states that forecasts start from, with values wherever the model needs them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from data_prep.store.reader import Store
from forecast.inference.initial_times import InitialTime
from forecast.model.fill import NearestFill
from sphere_ops.parallel.fields import own_shape
from sphere_ops.parallel.mesh import current

log = logging.getLogger(__name__)

Fill = Literal["nearest"]


class InitialStates:
    """States of a store under the mask of a model.

    Attributes:
        valid: points at which the model has values, bool (c, nlat, nlon), in a mesh own rows; None
            if it has them everywhere.
        comment: description of the points that were filled, for the forecast file; empty if the
            store has all that the model needs.
    """

    def __init__(
        self,
        store: Store,
        names: Sequence[str],
        mask: Tensor | None,
        n_history: int = 0,
        fill: Fill | None = None,
    ) -> None:
        """Compare the masks of model and store.

        Args:
            store: store with the initial states.
            names: channels of the model, which the store has.
            mask: points at which the model has values, on the grid of the store; None if it has
                them everywhere.
            n_history: states before the present one that a step takes.
            fill: "nearest" fills points that the model needs and the store does not have.

        Raises:
            ValueError: if there are such points and they are not to be filled, or cannot be.
        """
        self.store, self.n_history = store, n_history
        self._channels = [store.channel_names.index(name) for name in names]
        self.valid = None if mask is None else mask.cpu()
        self._fill: NearestFill | None = None
        self.comment = ""
        if store.mask is None:
            return
        there = store.mask[self._channels]
        needed = torch.ones_like(there) if self.valid is None else self.valid
        points = torch.stack([needed & ~there, needed, there, there & ~needed])
        missing, total, available, beyond = (
            current().sum_rows(points.sum((-2, -1)).double()).long().tolist()
        )
        unused = _counts(names, beyond)
        if unused:
            log.info("outside the model's mask values of the store are left out: %s", unused)
        found = _counts(names, missing, total)
        if not found:
            return
        if fill is None:
            raise ValueError(
                f"the mask of {store.path} is not that of the model, which needs values that the "
                f"store does not have: {found}; fill them from the nearest points with --fill "
                "nearest, or start from a store with the mask of training"
            )
        for name, count in zip(names, available, strict=True):
            if count == 0:
                raise ValueError(
                    f"{store.path} has no values of {name} at all to fill from; start from another "
                    "store"
                )
        self._fill = NearestFill(there, needed, store.grid)
        self.comment = (
            f"Initial states have values from the nearest points where the store {store.path.name} "
            f"has none: {found}"
        )
        log.info("filled from the nearest points, as the store has no values there: %s", found)

    def read(self, starts: Sequence[InitialTime]) -> Tensor:
        """Return states and those before, (b, n_history + 1, c, nlat, nlon), NaN outside the mask.

        In a mesh own rows. Values that are missing under both masks stay NaN.
        """
        n, store = self.n_history, self.store
        states = [store.states(i, s - n, n + 1)[:, self._channels] for i, s in starts]
        seen = (
            torch.stack(states)
            if states
            else torch.empty(0, n + 1, len(self._channels), *own_shape(store.grid))
        )
        if self._fill is not None:
            seen = self._fill(seen)
        return seen if self.valid is None else seen.where(self.valid, torch.nan)


def _counts(names: Sequence[str], counts: list[int], total: list[int] | None = None) -> str:
    """Numbers of points by channel, in words, without those that have none."""
    of = [""] * len(names) if total is None else [f" of {n:,}" for n in total]
    return ", ".join(
        f"{name} at {count:,}{all_} points"
        for name, count, all_ in zip(names, counts, of, strict=True)
        if count
    )
