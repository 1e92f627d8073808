"""Noise of a noise-conditioned model, drawn from the seeds of members."""

from __future__ import annotations

from collections.abc import Sequence

from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State


def has_noise(forecaster: Forecaster | ResamplingForecaster) -> bool:
    """Return True for a model that draws noise in every step."""
    return forecaster.noise is not None


def with_noise(
    forecaster: Forecaster | ResamplingForecaster, state: State, seeds: Sequence[Sequence[int]]
) -> State:
    """Return a state with the noise of each sample, if the model draws any.

    Args:
        forecaster: Model.
        state: States of the samples.
        seeds: Seed of each sample; see `Sample.seed`.
    """
    return forecaster.with_noise(state, seeds) if has_noise(forecaster) else state
