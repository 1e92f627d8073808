"""Members of an ensemble: their number, perturbations, models and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs import layout
from configs.time.calendar import SECOND
from configs.time.step import TimeStep
from data_prep.store.reader import Store
from forecast.inference.ensemble.earlier import EarlierStates
from forecast.inference.ensemble.kinds import PerturbationSpec
from forecast.inference.ensemble.perturbation import Perturbation, Setup
from forecast.inference.ensemble.sample import Sample
from forecast.inference.ensemble.seeded import has_noise
from forecast.model.forecaster import Forecaster
from forecast.model.resampling import ResamplingForecaster
from forecast.model.state import State
from sphere_ops.grid import EARTH_RADIUS

MOST_MEMBERS = 10_000

Model = Forecaster | ResamplingForecaster

SEED, PERTURBATIONS = "seed", "perturbations"
"""Attributes of a forecast file."""


class Ensemble:
    """Number of the members, and all that makes them differ.

    Member k has the model k modulo the number of models. Without members there is one forecast per
    start, that of member 0.

    Attributes:
        n_members: Number of members; None for single forecasts.
        seed: Seed of all random numbers.
        specs: Kinds of perturbations and their options.
        n_models: Number of models.
    """

    def __init__(
        self,
        n_members: int | None = None,
        perturbations: Sequence[str] = (),
        seed: int = 0,
        n_models: int = 1,
    ) -> None:
        """Read the perturbations.

        Args:
            n_members: See the attribute; the number of models if that is not 1.
            perturbations: Texts such as `field:amplitude=0.1`, which add up.
            seed: See the attribute.
            n_models: See the attribute.

        Raises:
            ValueError: If the number or the seed is out of range, or a perturbation is not allowed.
        """
        if n_members is None and n_models > 1:
            n_members = n_models
        if n_members is not None and not 1 <= n_members <= MOST_MEMBERS:
            raise ValueError(f"--members {n_members}; expected 1 to {MOST_MEMBERS}")
        if perturbations and n_members is None:
            raise ValueError("--perturb makes members of an ensemble; say how many with --members")
        if not 0 <= seed < 2**63:
            raise ValueError(f"--seed {seed}; expected a whole number from 0 to 2^63 - 1")
        self.n_members, self.seed, self.n_models = n_members, seed, n_models
        self.specs = [PerturbationSpec(text) for text in perturbations]
        self._built: list[Perturbation] = []
        self._noise = False

    @property
    def members(self) -> NDArray[np.int64] | None:
        """Numbers of the members, (m,); None for single forecasts."""
        return None if self.n_members is None else np.arange(self.n_members)

    def prepare(self, models: Sequence[Model], store: Store | None = None) -> None:
        """Build the perturbations for models and their initial states.

        Args:
            models: Models on the grid of the initial states.
            store: Store of the initial states; None if they are given without one.

        Raises:
            ValueError: If a perturbation does not fit, or nothing makes the members differ.
        """
        self._noise = any(has_noise(model) for model in models)
        if not self.specs:
            self._check_differ(all(has_noise(model) for model in models))
            return
        first = models[0]
        trained = first.forecaster if isinstance(first, ResamplingForecaster) else first
        setup = Setup(
            grid=first.grid,
            channels=first.channels,
            time_step=first.time_step,
            normalizer=trained.normalizer,
            radius=({} if store is None else store.attributes).get(layout.RADIUS, EARTH_RADIUS),
            device=next(trained.parameters()).device,
            store=store,
        )
        self._built = [spec.build(setup, number) for number, spec in enumerate(self.specs)]

    def _check_differ(self, noise: bool) -> None:
        """Raise a ValueError if nothing makes the members of one model differ."""
        if not noise and (self.n_members or 1) > self.n_models:
            raise ValueError(
                f"{self.n_members} members of {self.n_models} model"
                f"{'s' * (self.n_models > 1)} without noise are equal; make them differ with "
                "--perturb, such as --perturb field:amplitude=0.1"
            )

    def n_earlier(self, time_step: TimeStep) -> int:
        """Return the model steps before an initial time from which states are read.

        Args:
            time_step: Interval of one model step.
        """
        lag = max(self.lag(time_step, member) for member in range(self.n_members or 1))
        return lag + max((spec.n_earlier(time_step) for spec in self.specs), default=0)

    def lag(self, time_step: TimeStep, member: int) -> int:
        """Return the model steps that a member starts before the initial time."""
        return sum(spec.lag(time_step, member) for spec in self.specs)

    def sample(
        self, start: int, member: int, time: np.datetime64, step: TimeStep, *trajectory: int
    ) -> Sample:
        """Return a member of one start.

        Args:
            start: Position of the initial state.
            member: Number of the member.
            time: Valid time of the initial state.
            step: Interval of one model step, in the calendar of the time.
            trajectory: Number of the trajectory, in a store of trajectories.
        """
        lag = self.lag(step, member)
        begins = step.advance(np.array([time]), -lag)[0]
        return Sample(start, member, lag, self.numbers(member, begins, step, *trajectory))

    def numbers(
        self, member: int, time: np.datetime64, step: TimeStep, *trajectory: int
    ) -> tuple[int, ...]:
        """Return the seed of a member that is at a valid time; see `Sample.seed`."""
        seconds = int(step.calendar.elapsed(time)) // SECOND % 2**62
        return (self.seed, seconds, member, *trajectory)

    def perturb(
        self, state: State, samples: Sequence[Sample], earlier: EarlierStates | None
    ) -> State:
        """Return the states of members: given states with all perturbations.

        Args:
            state: States of the samples, with their history.
            samples: Members, (b,).
            earlier: States before these, and the model of the members; None without a store.
        """
        for one in self._built:
            state = one.perturb(state, samples, earlier)
        return state

    def attributes(self) -> dict[str, str]:
        """Return the attributes of a forecast file that make its members."""
        found = {PERTURBATIONS: "; ".join(str(spec) for spec in self.specs)} if self.specs else {}
        return found | ({SEED: str(self.seed)} if self.specs or self._noise else {})
