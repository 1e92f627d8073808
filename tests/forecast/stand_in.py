"""Forecaster with a known truth: it rotates fields about the axis, as `make_store` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from data_prep.store.reader import Store
from forecast.model.state import State

TURN = 0.25
"""Eastward turn of the synthetic fields per step, radians."""


class Turning(nn.Module):
    """Forecaster that rotates every field eastward, exactly, and can fail on purpose.

    Attributes:
        fails: at which step the forecasts started at an index of the first batch become infinite.
    """

    def __init__(self, store: str | Path, factor: float = 1.0) -> None:
        """Forecast the channels of a store; `factor` scales the departure from its mean."""
        super().__init__()
        self.store = Store(store)
        self.grid, self.channels = self.store.grid, self.store.channels
        self.channel_names, self.time_step = self.store.channel_names, self.store.time_step
        self.mask, self.n_history = self.store.mask, 0
        self.moving_mask = self.store.moving_mask
        self.forcing_channels, self.noise = (), None
        self.weight = nn.Parameter(torch.tensor(factor))
        self.fails: dict[int, int] = {}
        self.times: list[np.ndarray] = []
        self.steps_done = 0

    def step(self, state: State) -> State:
        """Take one step; values outside the mask are arbitrary."""
        self.times.append(state.time)
        self.steps_done += 1
        mean = self.store.statistics["mean"].float()[:, None, None]
        anomaly = state.fields - mean
        if self.mask is not None:
            anomaly = anomaly.where(self.mask, 0.0)
        if self.moving_mask:
            anomaly = anomaly.nan_to_num()
        spectrum = torch.fft.rfft(anomaly)
        m = torch.arange(spectrum.shape[-1])
        turned = torch.fft.irfft(spectrum * torch.exp(-1j * m * TURN), n=anomaly.shape[-1])
        fields = mean + self.weight * turned
        for index, step in self.fails.items():
            if self.steps_done >= step:
                fields[index, 1, 0, 3] = torch.inf
        return state.advance(fields, self.time_step.advance(state.time))
