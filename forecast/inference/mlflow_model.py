"""A package behind MLflow's general model interface: states in, forecast out.

MLflow loads it by the name of this module (`_load_pyfunc`), so that nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.time.calendar import SECOND
from forecast.inference.ensemble.members import Ensemble
from forecast.inference.ensemble.seeded import with_noise
from forecast.inference.rollout import rollout
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.model.state import State

_MOST_STEPS = 10_000


class MLflowModel:
    """Forecaster with arrays as inputs and outputs."""

    def __init__(self, forecaster: Forecaster) -> None:
        """Hold the forecaster."""
        self.forecaster = forecaster

    def predict(
        self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Forecast from some states.

        Args:
            inputs: `state` (b, c, nlat, nlon), physical units, and `time` (b,), their valid times
                in seconds since 1970 in the calendar of training. Of a model that sees the
                last n states, these in the order of time, (b, n, c, nlat, nlon), and the time of
                the last one.
                Of a model that is given channels at every time also `forcing`, these at the times
                of the steps, (b, n_steps, f, nlat, nlon), physical units, NaN where missing.
            params: `n_steps`, 1 if not given. For an ensemble `n_members`, from 1 on; `seed`; and
                `perturbation`, texts as of `forecast rollout --perturb` with ; between them.

        Returns:
            The states after steps 1 to n_steps, (b, n_steps, c, nlat, nlon); of an ensemble
            (b, m, n_steps, c, nlat, nlon). NaN outside the mask.

        Raises:
            ValueError: if the shapes are not those of the model, the steps make no sense, or a
                perturbation is not allowed or needs more states than are given.
        """
        fields = torch.as_tensor(np.asarray(inputs["state"], dtype=np.float32))
        seconds = np.asarray(inputs["time"]).reshape(-1).astype("datetime64[s]")
        time = self.forecaster.time_step.calendar.times(seconds.astype(np.int64) * SECOND)
        given = params or {}
        n_steps = int(given.get("n_steps", 1))
        ensemble = self._ensemble(given)
        seen = self.forecaster.n_history + 1
        expected = [seen] * (seen > 1)
        expected += [len(self.forecaster.channels), *self.forecaster.grid.shape]
        if list(fields.shape[1:]) != expected or len(time) != len(fields):
            raise ValueError(
                f"state of shape {tuple(fields.shape)} with {len(time)} times; expected "
                f"(b, {', '.join(str(n) for n in expected)}) with b times: "
                f"{'states in the order of time, ' * (seen > 1)}channels "
                f"{', '.join(self.forecaster.channel_names)} on {self.forecaster.grid}"
            )
        if not 1 <= n_steps <= _MOST_STEPS:
            raise ValueError(f"n_steps is {n_steps}; expected 1 to {_MOST_STEPS}")
        state = State.from_series(fields if seen > 1 else fields[:, None], time)
        forcing = self._forcing(inputs.get("forcing"), (len(fields), n_steps))
        # One member after the other: the states of one are in memory, and all results.
        members = [
            self._member(state, member, ensemble, n_steps, forcing)
            for member in range(ensemble.n_members or 1)
        ]
        result = members[0] if ensemble.n_members is None else torch.stack(members, dim=1)
        return result.numpy()

    def _ensemble(self, params: Mapping[str, Any]) -> Ensemble:
        """Return the members that are asked for."""
        texts = [text for text in str(params.get("perturbation", "")).split(";") if text.strip()]
        n_members = int(params.get("n_members", 0)) or None
        ensemble = Ensemble(n_members, texts, int(params.get("seed", 0)))
        ensemble.prepare([self.forecaster])
        return ensemble

    def _member(
        self,
        state: State,
        member: int,
        ensemble: Ensemble,
        n_steps: int,
        forcing: tuple[Tensor, ...] | None,
    ) -> Tensor:
        """Return the forecast of one member of each state, (b, n_steps, c, nlat, nlon)."""
        step = self.forecaster.time_step
        samples = [ensemble.sample(i, member, time, step) for i, time in enumerate(state.time)]
        state = ensemble.perturb(state, samples, None)
        if samples:
            state = with_noise(self.forecaster, state, [sample.seed for sample in samples])
        steps = rollout(self.forecaster, state, n_steps, forcing=forcing)
        return torch.stack([following.fields for following in steps], dim=1)

    def _forcing(self, values: Any, lead: tuple[int, int]) -> tuple[Tensor, ...] | None:
        """Return the forcing of each step; None for a model that takes none."""
        names = ", ".join(v.name for v in self.forecaster.forcing_channels)
        n_channels = len(self.forecaster.forcing_channels)
        if not n_channels and values is None:
            return None
        expected = (*lead, n_channels, *self.forecaster.grid.shape)
        found = None if values is None else np.shape(values)
        if not n_channels or found != expected:
            raise ValueError(
                f"forcing of shape {found}; expected {expected if n_channels else None}: the model "
                f"is given {names or 'no channels'} at the time of every step"
            )
        return torch.as_tensor(np.asarray(values, dtype=np.float32)).unbind(1)


def _load_pyfunc(path: str) -> MLflowModel:
    """Load a package, for MLflow."""
    return MLflowModel(load_package(path))
