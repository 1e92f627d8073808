"""Models of one forecast, each for a range of lead times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from forecast.model.state import State

if TYPE_CHECKING:
    from configs.time.step import TimeStep
    from configs.variables import Variable
    from forecast.model.forecaster import Forecaster
    from forecast.model.resampling import ResamplingForecaster


class Cascade:
    """Models of one forecast, one after the other.

    A model that is trained for short lead times makes the first steps, and another one goes on from
    its state, as in FuXi (Chen et al. 2023, https://doi.org/10.1038/s41612-023-00512-1). A cascade
    of one is that model.

    Attributes:
        models: models with the same channels, grid, mask and time step.
        ends: number of the last step of each model but the last.
        n_history: length of the history of the state that a forecast starts from; what a later
            model sees of the past may be a part of the forecast.
    """

    def __init__(
        self,
        models: Sequence[Forecaster | ResamplingForecaster],
        ends: Sequence[int] = (),
        n_history: int | None = None,
    ) -> None:
        """See the attributes.

        Args:
            models: See the attribute.
            ends: See the attribute.
            n_history: See the attribute; if not given, what the models need.

        Raises:
            ValueError: if there is not one more model than ends, or these do not increase from 1.
        """
        if len(models) != len(ends) + 1 or sorted({0, *ends}) != [0, *ends]:
            raise ValueError(
                f"a cascade of {len(models)} models with the last steps {list(ends)}; expected a "
                "last step of each but the last, in ascending order from 1"
            )
        self.models, self.ends = tuple(models), tuple(ends)
        begins = zip(models, (0, *ends), strict=True)
        needed = max(model.n_history - begin for model, begin in begins)
        self.n_history = needed if n_history is None else n_history
        self._kept = max(self.n_history, *(model.n_history for model in models))

    @property
    def first(self) -> Forecaster | ResamplingForecaster:
        """Model of the first step."""
        return self.models[0]

    @property
    def time_step(self) -> TimeStep:
        """Interval of one step."""
        return self.first.time_step

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Short names of the channels of a state."""
        return self.first.channel_names

    @property
    def forcing_channels(self) -> tuple[Variable, ...]:
        """Channels that are given at every time."""
        return self.first.forcing_channels

    def step(self, state: State, number: int, forcing: Tensor | None = None) -> State:
        """Return the state one time step later.

        Args:
            state: state with a history of at least `n_history`.
            number: number of the step in the forecast, from 1.
            forcing: forcing channels one time step later; see `Forecaster.step`.
        """
        if number - 1 in self.ends:
            state = replace(state, ahead=())  # predicted by the model before
        model = self.models[bisect_left(self.ends, number)]
        seen = replace(state, history=_last(state.history, model.n_history))
        following = model.step(seen) if forcing is None else model.step(seen, forcing)
        return replace(following, history=_last(state.series, self._kept))


def _last(fields: tuple[Tensor, ...], n: int) -> tuple[Tensor, ...]:
    """Return the last n fields, or all if there are fewer."""
    return fields[max(len(fields) - n, 0) :]
