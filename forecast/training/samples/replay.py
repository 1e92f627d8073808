"""Replay buffer: samples of a batch that go on from states that the model has predicted before.

A model that is trained on true states alone sees in a rollout what it has never seen: its own
errors. Longer rollouts in the loss show them at the cost of their steps. Here some samples of a
batch start from a predicted state, with the truth of the next time as the target, and what is
predicted becomes the start of a later batch. A step of the training costs as much as one from true
states. After Bodnar et al. (2024), arXiv 2405.13063, whose buffer serves the fine-tuning of Aurora.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.model.state import State

_ROLLOUTS = 8
"""Rollouts in the buffer for each sample of a batch that goes on from one."""


@dataclass(frozen=True)
class Replayed:
    """Rollouts of the buffer that the samples of a batch belong to.

    Attributes:
        rollouts: number of the rollout of each sample, (b,); -1 for none.
        goes_on: whether a sample starts from the state of its rollout, (b,), rather than from the
            truth.
    """

    rollouts: NDArray[np.int64]
    goes_on: NDArray[np.bool_]


class ReplayPlan:
    """Windows of the samples that go on.

    Each of these samples has some rollouts, of which a batch takes one at random. One that is
    complete, or at the end of its data, begins anew from the truth. The choice is a function of the
    seed, the place of the sample in the batch and the number of batches: the same on every mesh.

    Args:
        followed: whether the next window starts one time step after each, (n,).
        places: places in the whole batch of the samples of this process.
        longest: steps of a complete rollout.
        seed: whole numbers that the choice depends on.
    """

    def __init__(
        self, followed: NDArray[np.bool_], places: Sequence[int], longest: int, seed: list[int]
    ) -> None:
        self.samples, self._followed, self._longest = len(places), followed, longest
        self._random = [np.random.default_rng([*seed, place]) for place in places]
        n = rollouts(self.samples)
        self._window, self._done = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)

    def choose(self, new: NDArray[np.int64]) -> tuple[NDArray[np.int64], Replayed]:
        """Return the windows of the samples of the next batch, and their rollouts.

        Args:
            new: windows for the rollouts that begin, (samples,).
        """
        drawn = [random.integers(_ROLLOUTS) for random in self._random]
        chosen = _ROLLOUTS * np.arange(self.samples) + np.array(drawn, dtype=np.int64)
        done, window = self._done[chosen], self._window[chosen]
        goes_on = (done > 0) & (done < self._longest) & self._followed[window]
        window = np.where(goes_on, window + 1, new)
        self._window[chosen] = window
        self._done[chosen] = np.where(goes_on, done, 0) + 1
        return window, Replayed(chosen, goes_on)


def rollouts(samples: int) -> int:
    """Return the number of rollouts in the buffer, for so many samples of a batch."""
    return samples * _ROLLOUTS


class ReplayBuffer:
    """Last predicted states of some rollouts, with the history that the model sees.

    Args:
        samples: number of samples of a batch that go on.
    """

    def __init__(self, samples: int) -> None:
        self._age = np.zeros(rollouts(samples), dtype=np.int64)  # 0 where there is no state
        self._states: Tensor | None = None

    def start(self, truth: State, replayed: Replayed | None) -> tuple[State, NDArray[np.int64]]:
        """Return the states that the samples of a batch start from, and their age.

        Args:
            truth: initial states of the windows. They take the place of states that are not in the
                buffer, and of values that are not finite.
            replayed: rollouts of the samples; None if they belong to none.

        Returns:
            The states, and the number of steps since the truth of each, (b,).
        """
        age = np.zeros(len(truth.fields), dtype=np.int64)
        if replayed is None or self._states is None:
            return truth, age
        age[replayed.goes_on] = self._age[replayed.rollouts[replayed.goes_on]]
        held = age > 0
        if not held.any():
            return truth, age
        states = self._states[replayed.rollouts[held]]
        series = torch.stack(truth.series, 1)
        series[held] = torch.where(states.isfinite(), states, series[held])
        return State.from_series(series, truth.time), age

    def keep(self, predicted: State, replayed: Replayed, age: NDArray[np.int64]) -> None:
        """Keep states for later batches, without their gradient.

        Args:
            predicted: states.
            replayed: rollouts of the samples.
            age: number of steps since the truth of each, (b,); 0 for those whose rollouts end.
        """
        series = torch.stack(predicted.series, 1).detach()
        if self._states is None:
            self._states = series.new_zeros((len(self._age), *series.shape[1:]))
        held = replayed.rollouts >= 0
        numbers = replayed.rollouts[held]
        self._states[numbers] = series[held]
        self._age[numbers] = age[held]

    def drop(self, batches: Iterable[Replayed | None]) -> None:
        """Drop the rollouts of batches whose loss was not finite."""
        for replayed in batches:
            if replayed is not None:
                self._age[replayed.rollouts[replayed.rollouts >= 0]] = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return what a training that goes on needs, by name."""
        if self._states is None:
            return {}
        return {"states": self._states, "age": torch.from_numpy(self._age)}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go back to `tensors`; without any the rollouts begin anew."""
        self._states, self._age[:] = None, 0
        if "age" in tensors:  # earlier versions had none
            self._states = tensors["states"].to(device)
            self._age[:] = tensors["age"].numpy()
