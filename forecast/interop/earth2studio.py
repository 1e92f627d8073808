"""Package as a prognostic model of NVIDIA's earth2studio.

The class follows earth2studio's protocol `PrognosticModel` (0.19) and does not import it, so that
this project does not depend on it:

    from earth2studio.io import ZarrBackend
    from earth2studio.run import deterministic
    from forecast.interop.earth2studio import Earth2Model

    model = Earth2Model.from_package("run/best")
    deterministic(["2020-01-01"], 20, model, source, ZarrBackend("forecast.zarr"))
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.time.calendar import GREGORIAN
from forecast.model.forecaster import Forecaster
from forecast.model.package import load_package
from forecast.model.state import State

Coordinates = OrderedDict[str, NDArray[np.generic]]
Hook = Callable[[Tensor, Coordinates], tuple[Tensor, Coordinates]]

NAMES = {"u10": "u10m", "v10": "v10m", "u100": "u100m", "v100": "v100m", "siconc": "sic"}
"""Names in earth2studio's vocabulary of channels that are called differently there."""

_OWN = ("time", "lead_time", "variable", "lat", "lon")
"""Dimensions of the model, after any number of other ones (such as "ensemble")."""


class Earth2Model(nn.Module):
    """Forecaster with earth2studio's interface.

    Fields have the shape (..., time, lead_time, variable, lat, lon), in physical units. Input lead
    times are those of the states that the model sees, up to 0.

    A model with noise (`model.noise`) gives each sample of the leading dimensions, such as the
    members along "ensemble", noise of its own.

    Attributes:
        forecaster: Model of one time step.
        seed: Seed of the noise.
        front_hook: Function of fields and coordinates that is called before each step.
        rear_hook: Likewise, called after each step.
    """

    def __init__(
        self, forecaster: Forecaster, names: Mapping[str, str] = NAMES, seed: int = 0
    ) -> None:
        """Hold a forecaster.

        Args:
            forecaster: Model of one time step.
            names: Name in earth2studio of each channel that has another one there.
            seed: Seed of the noise of a model with noise.

        Raises:
            ValueError: If the model cannot follow the protocol: it steps by months, in another
                calendar, or is given channels at every time.
        """
        super().__init__()
        step = forecaster.time_step
        if step.seconds is None or step.calendar != GREGORIAN:
            raise ValueError(
                f"the model steps by {step.label} in the calendar {step.calendar.name}; "
                "earth2studio has steps of a fixed length in the calendar standard: use "
                "`forecast rollout`"
            )
        if forecaster.forcing_channels:
            given = ", ".join(v.name for v in forecaster.forcing_channels)
            raise ValueError(
                f"the model is given {given} at every time, which earth2studio's protocol does not "
                "pass: use `forecast rollout`"
            )
        self.forecaster, self.seed = forecaster.eval(), seed
        self._step = np.timedelta64(step.seconds, "s").astype("timedelta64[ns]")
        self._variables = np.array([names.get(n, n) for n in forecaster.channel_names])
        self.front_hook: Hook = _unchanged
        self.rear_hook: Hook = _unchanged

    @classmethod
    def from_package(
        cls, path: str | Path, names: Mapping[str, str] = NAMES, seed: int = 0
    ) -> Earth2Model:
        """Load the package of a trained model; see `load_package` for the errors."""
        return cls(load_package(path), names, seed)

    def input_coords(self) -> Coordinates:
        """Return the coordinates of the inputs; sizes that the caller chooses are 0."""
        lead = np.arange(-self.forecaster.n_history, 1) * self._step
        return self._coordinates(lead)

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Return the coordinates of the state one step after given inputs.

        Raises:
            ValueError: If the inputs have other variables, lead times or points.
        """
        expected = self.input_coords()
        leading = [key for key in input_coords if key not in _OWN]
        if tuple(key for key in input_coords if key in _OWN) != _OWN or list(input_coords)[
            len(leading) :
        ] != list(_OWN):
            raise ValueError(
                f"dimensions {', '.join(input_coords)}; expected any, then {', '.join(_OWN)}"
            )
        given = np.asarray(input_coords["lead_time"]).astype("timedelta64[ns]")
        lead = expected["lead_time"]
        if given.shape != lead.shape or (given - given[-1:] != lead).any():
            hours = [int(t / np.timedelta64(1, "h")) for t in lead]
            raise ValueError(
                f"lead times {given}; expected {len(lead)}, {hours} h relative to the last one"
            )
        if list(input_coords["variable"]) != list(self._variables):
            raise ValueError(
                f"variables {', '.join(map(str, input_coords['variable']))}; expected "
                f"{', '.join(self._variables)}"
            )
        for key in ("lat", "lon"):
            found = np.asarray(input_coords[key], dtype=np.float64)
            if found.shape != expected[key].shape or not np.allclose(found, expected[key]):
                raise ValueError(
                    f"{key} of {found.size} points is not that of the model's grid, "
                    f"{self.forecaster.grid}; interpolate the fields to it (input_coords)"
                )
        following = OrderedDict(input_coords)
        following["lead_time"] = given[-1:] + self._step
        return following

    def __call__(self, x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
        """Return the state one step later and its coordinates."""
        fields, following, _ = self._advance(x, coords, None)
        return fields, following

    def create_iterator(
        self, x: Tensor, coords: Coordinates
    ) -> Iterator[tuple[Tensor, Coordinates]]:
        """Yield the initial state, then the states after one, two, ... steps, without end."""
        self.output_coords(coords)  # refuses inputs that do not fit, before the first state
        now = OrderedDict(coords)
        now["lead_time"] = np.asarray(coords["lead_time"])[-1:]
        yield x[..., -1:, :, :, :], now
        coords, before = OrderedDict(coords), None
        while True:
            x, coords = self.front_hook(x, coords)
            with torch.no_grad():
                following, at, before = self._advance(x, coords, before)
            following, at = self.rear_hook(following, at)
            x = torch.cat((x[..., 1:, :, :, :], following), dim=-4)
            coords = OrderedDict(coords)
            coords["lead_time"] = np.concatenate((coords["lead_time"][1:], at["lead_time"]))
            yield following, at

    def _advance(
        self, x: Tensor, coords: Coordinates, before: State | None
    ) -> tuple[Tensor, Coordinates, State]:
        """Return fields and coordinates one step later, and the state there.

        Args:
            x: Fields, (..., time, lead_time, variable, lat, lon).
            coords: Their coordinates.
            before: State of the forecast, whose noise goes on, and what is predicted already; None
                at the beginning.
        """
        at = self.output_coords(coords)
        series = x.reshape(-1, *x.shape[-4:])  # (b, n + 1, c, h, w)
        time = np.asarray(coords["time"]).astype("datetime64[ns]") + coords["lead_time"][-1]
        samples = len(series) // len(time)
        state = State.from_series(series, np.tile(time, samples))
        if before is not None:
            state = replace(state, noise=before.noise, ahead=before.ahead)
        elif self.forecaster.noise is not None:
            seconds = time.astype("datetime64[s]").astype(np.int64).tolist()
            seeds = [(self.seed, s % 2**63, 0, m) for m in range(samples) for s in seconds]
            state = self.forecaster.with_noise(state, seeds)
        following = self.forecaster.step(state)
        fields = following.fields.reshape(*x.shape[:-4], 1, *x.shape[-3:])
        return fields, at, following

    def _coordinates(self, lead_time: NDArray[np.timedelta64]) -> Coordinates:
        grid = self.forecaster.grid
        return OrderedDict(
            batch=np.empty(0),
            time=np.empty(0),
            lead_time=lead_time,
            variable=self._variables,
            lat=grid.latitude.numpy(),
            lon=grid.longitude.numpy(),
        )


def _unchanged(x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
    return x, coords
