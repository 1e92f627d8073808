"""Replay buffer: samples of a batch that go on from states that the model has predicted before.

A model that is trained on true states alone sees in a rollout what it has never seen: its own
errors. Longer rollouts in the loss show them at the cost of their steps. Here some samples of a
batch start from a predicted state, with the truth of the next time as the target, and what is
predicted becomes the start of a later batch. A step of the training costs as much as one from true
states. After Bodnar et al. (2024), arXiv 2405.13063, whose buffer serves the fine-tuning of Aurora.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.model.state import NoiseState, State

_ROLLOUTS = 8
"""Rollouts in the buffer for each sample of a batch that goes on from one."""
_NOISE = "noise."


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
        followed: whether the `stride`-th next window starts as many time steps after each, (n,).
        places: places in the whole batch of the samples of this process.
        longest: steps of a complete rollout.
        seed: whole numbers that the choice depends on.
        stride: time steps from one state of a rollout in the buffer to the next.
    """

    def __init__(
        self,
        followed: NDArray[np.bool_],
        places: Sequence[int],
        longest: int,
        seed: list[int],
        stride: int = 1,
    ) -> None:
        self.samples, self._followed, self._longest = len(places), followed, longest
        self._stride = stride
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
        window = np.where(goes_on, window + self._stride, new)
        self._window[chosen] = window
        self._done[chosen] = np.where(goes_on, done, 0) + self._stride
        return window, Replayed(chosen, goes_on)


def rollouts(samples: int) -> int:
    """Return the number of rollouts in the buffer, for so many samples of a batch."""
    return samples * _ROLLOUTS


class ReplayBuffer:
    """Last predicted states of some rollouts, with the history that the model sees, and its noise.

    A rollout of an ensemble has a state of each member.

    Args:
        samples: number of samples of a batch that go on.
        members: states of a sample, one after the other; 1 for a deterministic model.
    """

    def __init__(self, samples: int, members: int = 1) -> None:
        self._members = members
        self._age = np.zeros(rollouts(samples), dtype=np.int64)  # 0 where there is no state
        self._states: Tensor | None = None
        self._noise: dict[str, Tensor] = {}

    def start(self, truth: State, replayed: Replayed | None) -> tuple[State, NDArray[np.int64]]:
        """Return the states that the samples of a batch start from, and their age.

        Args:
            truth: initial states of the windows, (b · members). They take the place of states that
                are not in the buffer, and of values that are not finite.
            replayed: rollouts of the samples; None if they belong to none.

        Returns:
            The states, and the number of steps since the truth of each sample, (b,).
        """
        age = np.zeros(len(truth.fields) // self._members, dtype=np.int64)
        if replayed is None or self._states is None:
            return truth, age
        age[replayed.goes_on] = self._age[replayed.rollouts[replayed.goes_on]]
        held = np.flatnonzero(age > 0)
        if not held.size:
            return truth, age
        places, numbers = self._rows(held), self._rows(replayed.rollouts[held])
        states = self._states[numbers]
        series = torch.stack(truth.series, 1)
        series[places] = torch.where(states.isfinite(), states, series[places])
        noise = truth.noise
        if noise is not None:
            tensors = {name: of.clone() for name, of in noise.tensors().items()}
            for name, of in tensors.items():
                of[places] = self._noise[name][numbers]
            noise = NoiseState.from_tensors(tensors)
        return replace(State.from_series(series, truth.time), noise=noise), age

    def keep(self, predicted: State, replayed: Replayed, age: NDArray[np.int64]) -> None:
        """Keep states for later batches, without their gradient.

        Args:
            predicted: states, (b · members).
            replayed: rollouts of the samples.
            age: number of steps since the truth of each sample, (b,); 0 for those whose rollouts
                end.
        """
        series = torch.stack(predicted.series, 1).detach()
        noise = {} if predicted.noise is None else predicted.noise.tensors()
        if self._states is None:
            count = self._members * len(self._age)
            self._states = series.new_zeros((count, *series.shape[1:]))
            self._noise = {k: x.new_zeros((count, *x.shape[1:])) for k, x in noise.items()}
        held = np.flatnonzero(replayed.rollouts >= 0)
        places, numbers = self._rows(held), self._rows(replayed.rollouts[held])
        self._states[numbers] = series[places]
        for name, of in noise.items():
            self._noise[name][numbers] = of[places]
        self._age[replayed.rollouts[held]] = age[held]

    def _rows(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the members of samples, one after the other."""
        return (samples[:, None] * self._members + np.arange(self._members)).ravel()

    def drop(self, batches: Iterable[Replayed | None]) -> None:
        """Drop the rollouts of batches whose loss was not finite."""
        for replayed in batches:
            if replayed is not None:
                self._age[replayed.rollouts[replayed.rollouts >= 0]] = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return what a training that goes on needs, by name."""
        if self._states is None:
            return {}
        noise = {f"{_NOISE}{name}": of for name, of in self._noise.items()}
        return {"states": self._states, "age": torch.from_numpy(self._age)} | noise

    def _fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return True for the tensors of a buffer of as many rollouts and members."""
        age = tensors.get("age")  # earlier versions had none
        if age is None or len(age) != len(self._age):
            return False
        return len(tensors["states"]) == self._members * len(self._age)

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go back to `tensors`; without any, or those of another batch, rollouts begin anew."""
        self._states, self._age[:] = None, 0
        if self._fits(tensors):
            self._states = tensors["states"].to(device)
            self._noise = {
                name.removeprefix(_NOISE): of.clone()
                for name, of in tensors.items()
                if name.startswith(_NOISE)
            }
            self._age[:] = tensors["age"].numpy()
