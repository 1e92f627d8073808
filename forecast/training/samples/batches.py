"""Training batches of a store, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_prep.store.reader import Store
from forecast.model.state import State, Times
from forecast.training.samples.replay import Replayed, ReplayPlan


@dataclass(frozen=True)
class Batch:
    """Windows of consecutive states: initial states with their history, and targets.

    Attributes:
        fields: float32 (b, n_history + 1 + n_steps, c, nlat, nlon), physical units, in the order
            of time.
        time: valid times of the initial states, datetime64[ns] (b,).
        starts: `index` and `step` of the initial states, (b, 2).
        n_history: length of the history of the initial states.
        forcing: fields of the forcing channels at the times of the targets, likewise
            (b, n_steps, f, nlat, nlon); None if no channel is given.
        replayed: rollouts of the replay buffer that samples belong to; None without a buffer.
    """

    fields: Tensor
    time: Times
    starts: NDArray[np.int64]
    n_history: int = 0
    forcing: Tensor | None = None
    replayed: Replayed | None = None

    @property
    def initial(self) -> State:
        """Initial states of the windows."""
        return State.from_series(self.fields[:, : self.n_history + 1], self.time)

    @property
    def targets(self) -> Tensor:
        """Fields after the initial states, (b, n_steps, c, nlat, nlon)."""
        return self.fields[:, self.n_history + 1 :]

    def forcing_of_steps(self, members: int = 1) -> tuple[Tensor, ...]:
        """Forcing at the time of each target, (b · members, f, nlat, nlon); empty if none is given.

        Args:
            members: number of members of each sample, one after the other.
        """
        if self.forcing is None:
            return ()
        return tuple(x.repeat_interleave(members, dim=0) for x in self.forcing.unbind(1))

    def member_seeds(self, members: int, *numbers: int) -> list[tuple[int, ...]]:
        """Seeds of the members of all samples, which depend on no other sample of the batch.

        Args:
            members: number of members of each sample, one after the other.
            numbers: whole numbers from 0, such as the seed of a run.
        """
        starts = self.starts.tolist()
        return [(*numbers, *start, member) for start in starts for member in range(members)]

    def first_steps(self, n_steps: int) -> Batch:
        """Return the batch with the first `n_steps` targets of each window."""
        forcing = None if self.forcing is None else self.forcing[:, :n_steps]
        fields = self.fields[:, : self.n_history + 1 + n_steps]
        return replace(self, fields=fields, forcing=forcing)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; from page-locked memory the copy is asynchronous."""
        return self._map(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        forcing = None if self.forcing is None else function(self.forcing)
        return replace(self, fields=function(self.fields), forcing=forcing)


class Windows(Dataset[Batch]):
    """Windows of a split, each read as a batch of one."""

    def __init__(self, store: Store, split: str, n_steps: int, n_history: int = 0) -> None:
        """List the windows of a history, an initial state and `n_steps` targets.

        See `Store.windows`.
        """
        self.store, self.n_steps, self.n_history = store, n_steps, n_history
        self.starts = store.windows(split, n_steps, n_history)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def followed(self, steps: int = 1) -> NDArray[np.bool_]:
        """Return True for windows that the `steps`-th next one follows by as many steps, (n,)."""
        moved = (0, steps) if self.store.has_trajectories else (steps, 0)
        found = np.zeros(len(self.starts), dtype=bool)
        found[:-steps] = (self.starts[steps:] - self.starts[:-steps] == moved).all(1)
        return found

    def __getitem__(self, i: int) -> Batch:
        """Window i."""
        return self.batch([i])

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Several windows."""
        starts = self.starts[np.asarray(indices)]
        n, count = self.n_history, self.n_history + self.n_steps + 1
        fields = torch.stack([self.store.states(i, s - n, count) for i, s in starts])
        time = np.array([self.store.valid_time(i, s) for i, s in starts], dtype="datetime64[ns]")
        given = [i for i, v in enumerate(self.store.channels) if v.role == "forcing"]
        if not given:
            return Batch(fields, time, starts, n)
        predicted = [i for i in range(len(self.store.channels)) if i not in given]
        return Batch(fields[:, :, predicted], time, starts, n, fields[:, n + 1 :, given])


def order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return a permutation of n windows that depends on seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def batch_indices(
    n: int, batch_size: int, seed: int, first: int, last: int, *, part: int = 0, parts: int = 1
) -> Iterator[NDArray[np.int64]]:
    """Yield the windows of batches `first` to `last` (exclusive), counted over all epochs.

    An epoch leaves out the windows that do not fill its last batch; which ones changes with the
    epoch.

    Args:
        n: number of windows.
        batch_size: windows of a batch, over all parts.
        seed: seed of the order.
        first: first batch.
        last: batch to stop before.
        part: which share of every batch is wanted.
        parts: number of shares.
    """
    per_epoch = n // batch_size
    epoch, permutation = -1, np.empty(0, dtype=np.int64)
    for i in range(first, last):
        if i // per_epoch != epoch:
            epoch = i // per_epoch
            permutation = order(n, seed, epoch)
        start = i % per_epoch * batch_size
        yield permutation[start : start + batch_size][part::parts]


def batches(
    windows: Windows,
    batch_size: int,
    seed: int,
    first: int,
    last: int,
    *,
    workers: int = 2,
    pin_memory: bool = False,
    part: int = 0,
    parts: int = 1,
    replay: ReplayPlan | None = None,
    replay_from: int = 0,
) -> Iterator[Batch]:
    """Training batches `first` to `last` (exclusive) in shuffled order.

    A small store is read from memory; of a larger one, worker processes read the next batches
    while the present one is computed.

    Args:
        windows: what to draw from.
        batch_size: windows of a batch, over all parts.
        seed: seed of the order.
        first: first batch, counted over all epochs.
        last: batch to stop before.
        workers: processes that read a store which is not in memory.
        pin_memory: whether batches go to a GPU.
        part: this process's share of every batch.
        parts: number of shares.
        replay: choice of the samples that go on from the replay buffer, the last of each share.
        replay_from: first batch with such samples.

    Raises:
        ValueError: if there are fewer windows than a batch holds, the shares are not equal, or a
            file of the store is damaged.
    """
    if batch_size % parts:
        raise ValueError(
            f"training.batch_size is {batch_size}, which {parts} processes along data cannot share "
            f"evenly; take a multiple of {parts}, or another mesh.data"
        )
    if len(windows) < batch_size:
        raise ValueError(
            f"training.batch_size is {batch_size}, but the store has only {len(windows)} windows "
            f"of {windows.n_steps + 1} states to train on; make the batch smaller"
        )
    indices = batch_indices(
        len(windows), batch_size, seed, 0 if replay else first, last, part=part, parts=parts
    )
    chosen: Iterator[_Choice] = ((windows, None) for windows in indices)
    if replay is not None:
        planned = _planned(indices, replay, replay_from)
        chosen = itertools.islice(planned, first, None)  # the plan depends on all before
    if windows.store.in_memory:
        for choice in chosen:
            batch = _read(windows, choice)
            yield batch.pin_memory() if pin_memory else batch
        return
    loader = DataLoader(
        _Batches(windows, list(chosen)),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=2 if workers else None,
    )
    try:
        yield from loader
    except ValueError as error:  # of a worker: its traceback, the message in the last line
        raise ValueError(str(error).splitlines()[-1].removeprefix("ValueError: ")) from error


_Choice = tuple[NDArray[np.int64], Replayed | None]
"""Windows of a batch, and the rollouts that they belong to."""


def _planned(
    indices: Iterator[NDArray[np.int64]], replay: ReplayPlan, replay_from: int
) -> Iterator[_Choice]:
    """Yield the windows of each batch, the last of which go on from the buffer."""
    for i, chosen in enumerate(indices):
        if i < replay_from:
            yield chosen, None
            continue
        plain, new = np.split(chosen, [len(chosen) - replay.samples])
        windows, of_last = replay.choose(new)
        rollouts = np.concatenate([np.full(len(plain), -1), of_last.rollouts])
        goes_on = np.concatenate([np.full(len(plain), False), of_last.goes_on])
        yield np.concatenate([plain, windows]), Replayed(rollouts, goes_on)


def _read(windows: Windows, choice: _Choice) -> Batch:
    chosen, replayed = choice
    return replace(windows.batch(chosen), replayed=replayed)


class _Batches(Dataset[Batch]):
    """Batches by number, for worker processes that each read whole batches."""

    def __init__(self, windows: Windows, choices: list[_Choice]) -> None:
        self.windows, self.choices = windows, choices

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, i: int) -> Batch:
        return _read(self.windows, self.choices[i])
