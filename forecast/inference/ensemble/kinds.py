"""Kinds of perturbations by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from configs.time.step import TimeStep
from forecast.inference.ensemble.balanced import BalancedPerturbation
from forecast.inference.ensemble.bred import BredVectors
from forecast.inference.ensemble.field import FieldPerturbation
from forecast.inference.ensemble.lagged import LaggedStarts
from forecast.inference.ensemble.options import parse
from forecast.inference.ensemble.perturbation import Perturbation, Setup

KINDS: dict[str, type[Perturbation]] = {
    "field": FieldPerturbation,
    "balanced": BalancedPerturbation,
    "bred": BredVectors,
    "lagged": LaggedStarts,
}


class PerturbationSpec:
    """Kind of a perturbation with the values of its options.

    Attributes:
        text: Text that was given.
        kind: Name of the kind.
        values: Values of the options.
    """

    def __init__(self, text: str) -> None:
        """Read a text such as `field:amplitude=0.1,length=500km`.

        Raises:
            ValueError: See `options.parse`.
        """
        self.text = str(text)
        options = {name: kind.OPTIONS for name, kind in KINDS.items()}
        self.kind, self.values, self._texts = parse(text, options)

    def __str__(self) -> str:
        """Return the text with the values of all options."""
        given = ",".join(f"{name}={text}" for name, text in sorted(self._texts.items()))
        return f"{self.kind}:{given}"

    def lag(self, time_step: TimeStep, member: int) -> int:
        """Return the model steps that a member starts before the initial time."""
        with self._named_errors():
            return KINDS[self.kind].lag(self.values, time_step, member)

    def n_earlier(self, time_step: TimeStep) -> int:
        """Return the model steps before the perturbed state from which states are read."""
        with self._named_errors():
            return KINDS[self.kind].n_earlier(self.values, time_step)

    def build(self, setup: Setup, number: int) -> Perturbation:
        """Build the perturbation; see `Perturbation`."""
        with self._named_errors():
            return KINDS[self.kind](self.values, setup, number)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors of the kind, with the text of the perturbation."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"perturbation {self.text!r}: {error}") from error
