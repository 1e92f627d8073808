"""Interface of the perturbations of initial states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from configs.time.step import TimeStep
from configs.variables import Variable
from forecast.inference.ensemble.options import Option, Values
from forecast.inference.ensemble.sample import Sample
from forecast.model.normalizer import Normalizer
from forecast.model.state import State
from sphere_ops.grid import EARTH_RADIUS, Grid

if TYPE_CHECKING:
    from data_prep.store.reader import Store
    from forecast.inference.ensemble.earlier import EarlierStates


@dataclass(frozen=True)
class Setup:
    """Model and data that perturbations are built for.

    Attributes:
        grid: Grid of the states.
        channels: Variables of the channels.
        time_step: Interval of one model step.
        normalizer: Statistics of the channels.
        radius: Radius of the sphere, m.
        device: Device of the states.
        store: Store of the initial states; None where states are given without one.
    """

    grid: Grid
    channels: tuple[Variable, ...]
    time_step: TimeStep
    normalizer: Normalizer
    radius: float = EARTH_RADIUS
    device: torch.device = torch.device("cpu")
    store: Store | None = None

    @property
    def fed_back(self) -> tuple[str, ...]:
        """Short names of the prognostic channels, those that it makes sense to perturb."""
        return tuple(v.name for v in self.channels if v.role == "prognostic")


class Perturbation:
    """Difference of the initial states of members from one initial state.

    A kind of perturbation is a subclass. Its constructor takes the values of its options, the
    setup, and its number among the perturbations of the ensemble, which belongs into its seeds.

    Attributes:
        OPTIONS: Options of the kind by name.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, values: Values, setup: Setup, number: int = 0) -> None:
        """Take the values of the options.

        Args:
            values: Value of each of `OPTIONS`, and of single channels; see `options.Values`.
            setup: Model and data.
            number: Number of the perturbation among those of the ensemble.

        Raises:
            ValueError: If a value does not fit the model or the data.
        """

    @classmethod
    def lag(cls, values: Values, time_step: TimeStep, member: int) -> int:
        """Return the model steps that a member starts before the initial time.

        Args:
            values: Values of the options.
            time_step: Interval of one model step.
            member: Number of the member.
        """
        return 0

    @classmethod
    def n_earlier(cls, values: Values, time_step: TimeStep) -> int:
        """Return the model steps before the perturbed state from which states are read."""
        return 0

    def perturb(
        self, state: State, samples: Sequence[Sample], earlier: EarlierStates | None
    ) -> State:
        """Return the states of members: given states with differences added.

        Args:
            state: States of the samples, with their history.
            samples: Members, (b,).
            earlier: States before these, and the model of the members; None without a store.
        """
        return state
