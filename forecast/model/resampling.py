"""Forecaster on its own grid for states on another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from forecast.model.forecaster import Forecaster
from forecast.model.noise import Noise
from forecast.model.points.fill import fill_gaps
from forecast.model.state import State
from sphere_ops.grid import Grid
from sphere_ops.harmonics.resample import resample


class ResamplingForecaster(nn.Module):
    """Takes states to the grid of a forecaster, steps them there and brings them back.

    For fields that both grids hold it forecasts what the forecaster does on its own grid, with that
    accuracy and at that cost. What only the finer grid holds is dropped in the first step: to see
    it, discretise the operators there (`Forecaster.on_grid`). On a grid that is rotated about the
    axis nothing is dropped (see `resample`).

    Attributes:
        grid: of the states.
        channels: what the channels of a state are.
        channel_names: their short names.
        time_step: interval of one step.
        n_history: length of the history of the states that it steps.
        mask: None: all channels have values everywhere.
        moving_mask: empty, likewise.
        forcing_channels: channels that are given at every time.
        forcing_mask: None: a forcing may lack any points, which take the values of the nearest.
    """

    mask = None
    moving_mask = ()
    forcing_mask = None

    def __init__(self, forecaster: Forecaster, grid: Grid) -> None:
        """See the attributes.

        Raises:
            ValueError: if channels have a mask, across which nothing can be resampled.
        """
        super().__init__()
        if forecaster.mask is not None:
            raise ValueError(
                f"the model has values in a part of its grid {forecaster.grid} only, so that its "
                f"fields cannot be resampled to {grid}; take --transfer operators"
            )
        self.forecaster, self.grid = forecaster, grid
        self.channels, self.channel_names = forecaster.channels, forecaster.channel_names
        self.time_step, self.n_history = forecaster.time_step, forecaster.n_history
        self.forcing_channels = forecaster.forcing_channels

    @property
    def noise(self) -> Noise | None:
        """Noise of the forecaster, on its own grid; None for a deterministic one."""
        return self.forecaster.noise

    def step(self, state: State, forcing: Tensor | None = None) -> State:
        """Return the state one time step later; see `Forecaster.step`."""
        if not state.ahead:
            own = self.forecaster.grid
            if forcing is not None:
                forcing = resample(fill_gaps(forcing, self.grid), self.grid, own)
            there = state.map(lambda x: resample(x, self.grid, own))
            predicted = self.forecaster.predict(there, forcing)
            ahead = tuple(resample(x, own, self.grid) for x in predicted.ahead)
            state = replace(state, noise=predicted.noise, ahead=ahead)
        return state.following(self.time_step.advance(state.time))

    def with_noise(self, state: State, seeds: Sequence[Sequence[int]]) -> State:
        """Return a state with noise; see `Forecaster.with_noise`."""
        return self.forecaster.with_noise(state, seeds)
