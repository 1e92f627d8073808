"""References of anomalies and norms: climatology, mean state and mean value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import layout
from configs.time.calendar import Times
from data_prep.store.arrays import open_store
from data_prep.store.climatology import Climatology, DailyClimatology
from data_prep.store.reader import Store
from forecast.inference.reader import ForecastFile
from forecast.model.package import load_package

_READ_BYTES = 32 * 2**20

Array = NDArray[np.floating[Any]]


class References:
    """Climatology, mean state and mean value of a training split, if they exist.

    A store's climatology by day of the year and hour comes before that by month.

    Attributes:
        name: Store or package of the references, for messages.
        store: Store of the references; None for those of a package.
        mean: Mean of each channel over area and time, (c,); None without a training split.
        climatology: Monthly climatology, NaN where a channel has no values; None if there is
            none.
    """

    def __init__(
        self,
        name: str,
        file: ForecastFile,
        channel_names: tuple[str, ...],
        statistics: Mapping[str, Tensor],
        store: Store | None = None,
    ) -> None:
        """Select the channels of a forecast file from statistics.

        Args:
            name: Store or package of the statistics, for messages.
            file: Forecast file with the channels to select.
            channel_names: Channels of the statistics.
            statistics: Statistics by their names in a store.
            store: Store from whose training split to compute a mean state that is not in the
                statistics.

        Raises:
            ValueError: If a channel is not in the statistics.
        """
        absent = [c for c in file.channel_names if c not in channel_names]
        if absent:
            raise ValueError(
                f"{name} has no climatology of {', '.join(absent)}, which {file.path} forecasts; "
                f"it has {', '.join(channel_names)}"
            )
        self.name, self._statistics, self.store = name, statistics, store
        self._channels = [channel_names.index(c) for c in file.channel_names]
        self.mean = self._of_file(layout.MEAN)
        monthly = self._of_file(layout.CLIMATOLOGY)
        self.climatology = None if monthly is None else Climatology(monthly, file.time_step)
        self._daily: DailyClimatology | None = None
        if store is not None and layout.DAILY_CLIMATOLOGY in open_store(store.path):
            self._daily = DailyClimatology(store.path, store.rows)
            held = self._daily.channel_names
            self._daily_channels = [held.index(c) for c in file.channel_names]

    @classmethod
    def of_store(cls, store: Store, file: ForecastFile) -> References:
        """Return the references of a store's training split."""
        name = f"store {store.path}"
        return cls(name, file, store.channel_names, store.statistics, store)

    @classmethod
    def open(cls, path: str | Path, file: ForecastFile) -> References:
        """Return the references of a package or a store.

        Raises:
            FileNotFoundError: If the path does not exist.
            ValueError: If its grid or its channels are not those of the forecast file.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"no package or store at {path}; give one that holds a climatology of the "
                "forecast's variables"
            )
        held = [path, path / layout.PACKAGE]
        if not any((folder / layout.PACKAGE_FILE).is_file() for folder in held):
            store = Store(path)
            store.reader.in_memory = False  # a few states are needed, each of them once
            _check_grid(f"store {path}", store.grid, file)
            return cls.of_store(store, file)
        forecaster = load_package(path)
        _check_grid(f"package {path}", forecaster.grid, file)
        statistics = {layout.MEAN: forecaster.normalizer.mean}
        climatology = forecaster.normalizer.climatology
        if climatology is not None:
            mask = forecaster.mask
            statistics[layout.CLIMATOLOGY] = (
                climatology if mask is None else climatology.where(mask, torch.nan)
            )
        return cls(f"package {path}", file, forecaster.channel_names, statistics)

    @cached_property
    def time_mean(self) -> Tensor | None:
        """Mean state (c, nlat, nlon), from the statistics, else from the fields of the store."""
        found = self._of_file(layout.TIME_MEAN)
        if found is None and self.store is not None and "train" in self.store.split:
            found = _mean_state(self.store)[self._channels]
        return found

    @property
    def kind(self) -> str | None:
        """Description of the reference of anomalies; None if there is none."""
        if self.has_climatology:
            by = "daily" if self.by_day else "monthly"
            return f"the {by} climatology of {self.name} (training years)"
        return None if self.time_mean is None else f"the mean training state of {self.name}"

    @property
    def has_climatology(self) -> bool:
        """True if there is a climatology, by month or by day."""
        return self.climatology is not None or self.by_day

    @property
    def by_day(self) -> bool:
        """True if the climatology is by day of the year and hour."""
        return self._daily is not None

    def valid(self, moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask of the points with a reference of anomalies.

        Args:
            moving: channels with a moving mask, of which a climatology may lack a point at some
                times of the year, (c,).

        Returns:
            Mask that broadcasts against (c, nlat, nlon).
        """
        if self.by_day and self.climatology is None:
            return np.ones((), dtype=bool)  # made of complete fields
        if self.climatology is not None:
            finite = self.climatology.monthly.isfinite().numpy()
            return np.where(moving[:, None, None], finite.any(0), finite.all(0))
        if self.time_mean is None:
            return np.ones((), dtype=bool)
        return self.time_mean.isfinite().numpy()

    def of_anomalies(self, time: Times) -> Array | None:
        """Return the climatology at given times, else the mean state: (b or 1, c, nlat, nlon)."""
        if self.has_climatology:
            return self._at(time)
        return None if self.time_mean is None else self.time_mean[None].numpy()

    def of_norms(self, time: Times) -> Array | None:
        """Return the climatology at given times, else the mean value: (b or 1, c, ...)."""
        if self.has_climatology:
            return self._at(time)
        return None if self.mean is None else self.mean[None, :, None, None].numpy()

    def _at(self, time: Times) -> Array:
        """Return the climatology at given times: by day and hour if the store has that."""
        if self._daily is not None:
            return self._daily.at(time)[:, self._daily_channels].numpy()
        assert self.climatology is not None
        return self.climatology.at(time).numpy()

    def _of_file(self, name: str) -> Tensor | None:
        """Return a statistic for the channels of the file; None if there is none."""
        if name not in self._statistics:
            return None
        values = self._statistics[name].float()
        return values[self._channels] if values.ndim != 4 else values[:, self._channels]


def _check_grid(name: str, grid: object, file: ForecastFile) -> None:
    if grid != file.grid:
        raise ValueError(
            f"the climatology of {name} is on {grid}, the forecast {file.path} on {file.grid}; "
            "give a package or store on the forecast's grid"
        )


def _mean_state(store: Store) -> Tensor:
    """Compute the mean over the training split, (c, nlat, nlon), in blocks of times."""
    train = store.split_indices("train")
    if store.has_trajectories:
        runs = [(int(i), len(store.time)) for i in train]
    else:
        parts = np.split(train, np.flatnonzero(np.diff(train) != 1) + 1)
        runs = [(int(part[0]), len(part)) for part in parts]
    state = store.state(runs[0][0])
    longest = max(1, _READ_BYTES // (4 * state.numel()))
    total = torch.zeros(state.shape, dtype=torch.float64)
    for index, count in runs:
        for step in range(0, count, longest):
            total += store.states(index, step, min(longest, count - step)).double().sum(0)
    return (total / sum(count for _, count in runs)).float()
