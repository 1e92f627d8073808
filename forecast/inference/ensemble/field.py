"""Perturbation by Gaussian random fields with a correlation length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from configs.length import parse_length
from forecast.inference.ensemble.amplitude import AMPLITUDE, CHANNELS, SCALE, amplitudes
from forecast.inference.ensemble.constraints import Constraints
from forecast.inference.ensemble.earlier import EarlierStates
from forecast.inference.ensemble.options import Option, Values, choice, length, switch
from forecast.inference.ensemble.perturbation import Perturbation, Setup
from forecast.inference.ensemble.sample import Sample
from forecast.model.state import State
from sphere_ops.harmonics.random_fields import GaussianField


class FieldPerturbation(Perturbation):
    """Adds isotropic Gaussian random fields to the prognostic channels.

    All states that a model sees get the same difference. What channels allow is kept: see
    `Constraints`.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        "amplitude": AMPLITUDE,
        "length": length("1000km"),
        "scale": SCALE,
        "channels": CHANNELS,
        "pattern": choice("independent", "independent", "common"),
        "means": choice("conserved", "conserved", "all"),
        "pairs": switch("no"),
    }

    def __init__(self, values: Values, setup: Setup, number: int = 0) -> None:
        """See `Perturbation`."""
        self._number, self._pairs = number, values["pairs"]
        self._common = values["pattern"] == "common"
        self._amplitude = amplitudes(values, setup)
        keep_all = values["means"] == "all"
        self.constraints = Constraints(setup.channels, setup.grid, keep_means=keep_all)
        self.constraints.to(setup.device)
        kept = [keep_all or v.conserved for v in setup.channels]
        perturbed = [bool(a > 0) for a in self._amplitude.flatten()]
        angle = parse_length(values["length"], setup.radius / 1000)
        self._draws: list[tuple[list[int], GaussianField]] = []
        for first_degree in (0, 1):  # fields with an area mean, and those without
            chosen = [
                c for c, (k, p) in enumerate(zip(kept, perturbed, strict=True))
                if p and k == bool(first_degree)
            ]  # fmt: skip
            if chosen:
                field = GaussianField(setup.grid, angle, first_degree=first_degree)
                self._draws.append((chosen, field.to(setup.device)))
        if not self._draws:
            raise ValueError(
                "no channel is perturbed: none that is fed back has an amplitude above 0; leave "
                "out --perturb, or give an amplitude"
            )

    def perturb(
        self, state: State, samples: Sequence[Sample], earlier: EarlierStates | None
    ) -> State:
        """See `Perturbation`."""
        difference = self.difference(samples)
        return self.constraints.add(state, [difference] * len(state.series))

    def difference(self, samples: Sequence[Sample]) -> Tensor:
        """Return the difference of each sample, (b, c, nlat, nlon), before the constraints."""
        drawn = [sample.of_pair() if self._pairs else (sample, 1) for sample in samples]
        signs = self._amplitude.new_tensor([float(sign) for _, sign in drawn])
        out: Tensor | None = None
        for channels, field in self._draws:
            of = [0] if self._common else channels
            seeds = [sample.numbers(self._number, c) for sample, _ in drawn for c in of]
            fields = field(seeds).unflatten(0, (len(samples), len(of)))  # (b, c or 1, h, w)
            if out is None:
                shape = len(samples), len(self._amplitude), *fields.shape[-2:]
                out = fields.new_zeros(shape)
            out[:, channels] = fields.expand(-1, len(channels), -1, -1)
        assert out is not None  # at least one channel is perturbed
        return out * self._amplitude * signs[:, None, None, None]
