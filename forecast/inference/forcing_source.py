"""Forcing channels of forecasts at the time of every step, from a store or from its climatology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from data_prep.store.climatology import Climatology, without_gaps
from data_prep.store.reader import Store
from forecast.inference.mask_match import match_masks
from forecast.model.forecaster import Forecaster
from forecast.model.points.fill import FillMethod
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import Times

CLIMATOLOGY = "climatology"


class ForcingSource:
    """Forcing channels of a model along its forecasts.

    Fields are read one time after the other, as a rollout needs them: memory does not depend on the
    number of steps.

    Attributes:
        names: short names of the channels.
        time_step: interval of one model step.
        comment: description of the source and of filled points, for the forecast file.
    """

    def __init__(
        self,
        forecaster: Forecaster | ResamplingForecaster,
        store: Store,
        source: str | Path | None = None,
        *,
        fill: FillMethod | None = None,
    ) -> None:
        """Open the source.

        Args:
            forecaster: model, on the grid of the store.
            store: store of the initial states.
            source: another store, on the same grid; or `climatology`, that of `store`. Default:
                `store`.
            fill: method to fill points that the model needs and the source does not have.

        Raises:
            FileNotFoundError: if there is no such store.
            ValueError: if the source lacks a channel or has another grid, or if points that the
                model needs are missing and are not to be filled.
        """
        self.names = tuple(v.name for v in forecaster.forcing_channels)
        self.time_step, self._climatology = forecaster.time_step, None
        from_climatology = source == CLIMATOLOGY
        found = store if source is None or from_climatology else Store(source)
        _check_fits(found, store, self.names)
        self._store = found.select(channels=(), forcing=self.names)
        if from_climatology:
            statistics = self._store.statistics
            if layout.CLIMATOLOGY not in statistics:
                raise ValueError(
                    f"{store.path} has no climatology to force with; give --forcing a store"
                )
            monthly = without_gaps(statistics[layout.CLIMATOLOGY].float())
            self._climatology = Climatology(monthly, store.time_step)
        self._fill, filled = None, ""
        if forecaster.forcing_mask is not None:
            needed = forecaster.forcing_mask
            self._fill, filled = match_masks(self._store, self.names, needed, fill)
        origin = f"the climatology of {found.path.name}" if from_climatology else found.path.name
        self.comment = f"{', '.join(self.names)} at every time from {origin}"
        if filled:
            self.comment += f", filled where it has no values: {filled}"

    def n_steps(self, time: Times, n_steps: int) -> NDArray[np.int64]:
        """Return the number of steps that the source covers from initial times, at most `n_steps`.

        Args:
            time: initial times, (n,).
            n_steps: wanted number of steps.
        """
        if self._climatology is not None:
            return np.full(len(time), n_steps)
        covered = np.zeros(len(time), dtype=np.int64)
        for step in range(1, n_steps + 1):
            there = self._store.find(self.time_step.advance(time, step)) >= 0
            covered += there & (covered == step - 1)
        return covered

    def refuse(self, start: str, time: np.datetime64, covered: int) -> ValueError:
        """Return the error of a forecast that is longer than its forcing.

        Args:
            start: initial state in words.
            time: its valid time.
            covered: number of steps that the source covers; negative if it lacks a time before
                the start, from which members of an ensemble need it.
        """
        calendar, store = self.time_step.calendar, self._store
        wanted = self.time_step.advance(np.array([time]), covered + 1)[0]
        shorter = f"take fewer steps (--steps {covered}), " if covered > 0 else ""
        if covered < 0:  # lagged or bred members
            shorter = "leave out the perturbation that starts earlier, "
        return ValueError(
            f"the forecast from {start} needs {', '.join(self.names)} at "
            f"{calendar.label(wanted, 'm')}, which {store.path} does not have (its last time is "
            f"{calendar.label(store.time[-1], 'm')}); {shorter}start earlier with --init-time, "
            f"or give another store or the climatology with --forcing"
        )

    def steps(
        self,
        time: Times,
        trajectories: Sequence[int],
        n_steps: int,
        device: torch.device,
        done: int = 0,
    ) -> Iterator[Tensor]:
        """Read the fields of each step, (b, f, nlat, nlon), NaN where missing.

        Args:
            time: initial times, (b,).
            trajectories: trajectory of each forecast, in a store of trajectories.
            n_steps: number of steps.
            device: device of the fields.
            done: number of first steps that are left out.
        """
        for step in range(done + 1, n_steps + 1):
            fields = self._at(self.time_step.advance(time, step), trajectories)
            yield (fields if self._fill is None else self._fill(fields)).to(device)

    def _at(self, time: Times, trajectories: Sequence[int]) -> Tensor:
        """Return the fields at valid times (b,)."""
        if self._climatology is not None:
            return self._climatology.at(time)
        store, places = self._store, self._store.find(time).tolist()
        starts = (
            zip(trajectories, places, strict=True)
            if store.has_trajectories
            else ((place, 0) for place in places)
        )
        return torch.stack([store.state(index, step) for index, step in starts])


def _check_fits(source: Store, store: Store, names: Sequence[str]) -> None:
    """Raise a ValueError if a source lacks channels, or is not on the grid of the store."""
    if absent := [name for name in names if name not in source.channel_names]:
        raise ValueError(
            f"the model is given {', '.join(absent)} at every time, which {source.path} does not "
            f"have; it has {', '.join(source.channel_names)}; give another store with --forcing"
        )
    if source.grid != store.grid:
        raise ValueError(
            f"the forcing in {source.path} is on {source.grid}, the initial states in {store.path} "
            f"are on {store.grid}; give --forcing a store on that grid"
        )
    if source.has_trajectories and not store.has_trajectories:
        raise ValueError(
            f"{source.path} has trajectories, and {store.path} is one series; give --forcing a "
            "store of one series"
        )
