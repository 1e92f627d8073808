"""Members of an ensemble as samples of a batch, and the seeds of their random numbers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_PERTURBATION = zlib.crc32(b"perturbation")
"""First number of the seeds of perturbations, which sets them apart from those of a model."""


@dataclass(frozen=True)
class Sample:
    """One member of the ensemble of one initial state.

    All random numbers of a sample follow from `seed`: they do not depend on the number of members,
    the batch or the mesh.

    Attributes:
        start: Position of the initial state among those of the forecast.
        member: Number of the member, from 0 on.
        lag: Model steps that the member starts before the initial time.
        seed: Seed of the ensemble, time of the state that the member starts from in whole seconds
            since 1970 (modulo 2⁶²), and member; of a store of trajectories also the trajectory,
            since all of them have the same times.
    """

    start: int
    member: int
    lag: int
    seed: tuple[int, ...]

    def numbers(self, *more: int) -> tuple[int, ...]:
        """Return the seed of a perturbation.

        Args:
            more: Numbers that set this one apart from others of the sample, such as the channel.
        """
        return (_PERTURBATION, *self.seed, *more)

    def of_pair(self) -> tuple[Sample, int]:
        """Return the sample whose random numbers a pair of members shares, and the own sign.

        Members 0 and 1, 2 and 3, ... are pairs; the second has the sign −1.
        """
        first, time, member, *trajectory = self.seed
        seed = (first, time, member // 2, *trajectory)
        pair = Sample(self.start, self.member // 2, self.lag, seed)
        return pair, 1 - 2 * (self.member % 2)
