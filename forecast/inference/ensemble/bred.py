"""Bred vectors: differences that grow fastest in the forecasts before the initial time.

Toth and Kalnay (1993, Bull. Amer. Meteor. Soc. 74, 2317-2330; 1997, Mon. Wea. Rev. 125, 3297-3319).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from configs.time.step import TimeStep
from forecast.inference.ensemble.amplitude import AMPLITUDE, SCALE, amplitudes
from forecast.inference.ensemble.constraints import Constraints
from forecast.inference.ensemble.earlier import EarlierStates, join, take
from forecast.inference.ensemble.field import FieldPerturbation
from forecast.inference.ensemble.options import (
    Option,
    Values,
    check_channels,
    interval,
    length,
    n_steps,
    names,
    switch,
    whole_number,
)
from forecast.inference.ensemble.perturbation import Perturbation, Setup
from forecast.inference.ensemble.sample import Sample
from forecast.inference.ensemble.seeded import has_noise, with_noise
from forecast.model.state import State
from sphere_ops.parallel.fields import own_rows
from sphere_ops.parallel.mesh import current


class BredVectors(Perturbation):
    """Adds bred vectors, one for each member from a random start.

    The cycles begin `cycles` intervals before the perturbed state, with the analysis of that time,
    and with the analysis plus a random field. Both are forecast over an interval. Their difference,
    rescaled to the amplitude, is added to the analysis of that time for the next cycle, and after
    the last one to the perturbed state.

    The size of a difference is the root mean square over the sphere and the channels of the norm of
    the difference in units of their amplitudes.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        "amplitude": AMPLITUDE,
        "scale": SCALE,
        "cycles": whole_number("5"),
        "interval": interval("1"),
        "norm": names("all"),
        "length": length("1000km"),
        "pairs": switch("no"),
    }

    def __init__(self, values: Values, setup: Setup, number: int = 0) -> None:
        """See `Perturbation`."""
        if setup.store is None:
            raise ValueError(
                "bred vectors need states before the initial one, and only one is given; take "
                "another perturbation, or forecast from a store with `forecast rollout`"
            )
        self._cycles, self._pairs = values["cycles"], values["pairs"]
        self._interval = n_steps(values["interval"], setup.time_step, "interval")
        self._amplitude = amplitudes({**values, "channels": None}, setup)
        chosen = setup.fed_back if values["norm"] is None else values["norm"]
        check_channels(chosen, setup.fed_back, "norm")
        self._norm = [c for c, v in enumerate(setup.channels) if v.name in chosen]
        area = setup.grid.area_weights[own_rows(setup.grid)]
        self._area = area.float().to(setup.device)
        self.constraints = Constraints(setup.channels, setup.grid).to(setup.device)
        random = {name: o.read(o.default) for name, o in FieldPerturbation.OPTIONS.items()}
        random |= {k: v for k, v in values.items() if k.partition(".")[0] in random}
        self._random = FieldPerturbation(random | {"pairs": False}, setup, number)

    @classmethod
    def n_earlier(cls, values: Values, time_step: TimeStep) -> int:
        """See `Perturbation`."""
        return values["cycles"] * n_steps(values["interval"], time_step, "interval")

    def perturb(
        self, state: State, samples: Sequence[Sample], earlier: EarlierStates | None
    ) -> State:
        """See `Perturbation`."""
        drawn = [sample.of_pair() if self._pairs else (sample, 1) for sample in samples]
        unique = list(dict.fromkeys(sample for sample, _ in drawn))
        assert earlier is not None  # there is a store
        bred = self._bred(unique, len(state.series), earlier)
        place = [unique.index(sample) for sample, _ in drawn]
        signs = state.fields.new_tensor([float(sign) for _, sign in drawn])[:, None, None, None]
        return self.constraints.add(state, [signs * part[place] for part in bred])

    def _bred(
        self, samples: Sequence[Sample], n_series: int, earlier: EarlierStates
    ) -> list[Tensor]:
        """Return the difference of each part of a series, (b, c, nlat, nlon) each."""
        differences = self._rescaled([self._random.difference(samples)] * n_series)
        # Members of one start share the forecast from the analysis, unless they differ by noise.
        noisy = has_noise(earlier.forecaster.first)
        keys = [(sample.start, sample.lag, sample.member * noisy) for sample in samples]
        unique = list(dict.fromkeys(keys))
        firsts = [keys.index(key) for key in unique]
        both = [*(samples[i] for i in firsts), *samples]
        for left in range(self._cycles, 0, -1):
            analysis = earlier.read(samples, left * self._interval)
            start = join([take(analysis, firsts), self.constraints.add(analysis, differences)])
            start = with_noise(earlier.forecaster.first, start, [sample.seed for sample in both])
            end = earlier.forecast(start, both, self._interval)
            control = take(end, [unique.index(key) for key in keys])
            members = take(end, range(len(firsts), len(both)))
            differences = self._rescaled(
                [m - c for m, c in zip(members.series, control.series, strict=True)]
            )
        return differences

    def _rescaled(self, series: Sequence[Tensor]) -> list[Tensor]:
        """Scale differences so that the last one has the size 1 in units of the amplitudes."""
        last = series[-1][:, self._norm] / self._amplitude[self._norm]
        there = last.isfinite()
        squares = (self._area * last.where(there, 0.0).square()).sum((-2, -1))
        sums = torch.stack((squares, (self._area * there).sum((-2, -1)))).sum(-1)  # (2, b)
        total, share = current().sum_rows(sums)
        size = (total / share.clamp(min=1e-9)).sqrt()
        return [x / size[:, None, None, None].clamp(min=1e-20) for x in series]
