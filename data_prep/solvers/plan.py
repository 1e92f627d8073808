"""Plan of the trajectories of a store: splits, seeds, times and batches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from configs.layout import SPLITS
from configs.solvers import SplitCounts
from configs.time.step import TimeStep

BATCH_BYTES = 2**29  # limit of the fields being solved; as many may wait to be written
_FEWEST_PER_THREAD = 4


@dataclass(frozen=True)
class Plan:
    """Plan of one trajectory of a store.

    Attributes:
        index: Index of the trajectory in the store.
        split: Name of its split.
        case: Index of its case in the configuration.
        seed: Seed of its initial state.
    """

    index: int
    split: str
    case: int
    seed: int


def plan_trajectories(
    counts: SplitCounts, seed: int, weights: Sequence[float] = (1.0,)
) -> list[Plan]:
    """Return the plan of all trajectories of a store.

    The seed of a trajectory depends on the seed of the configuration, the split and the number of
    the trajectory in it. Cases alternate within a split in proportion to their weights.

    Args:
        counts: Number of trajectories of each split.
        seed: Seed of the configuration.
        weights: Weights of the cases.
    """
    plans: list[Plan] = []
    shares = np.array(weights) / np.sum(weights)
    for number, split in enumerate(SPLITS):
        given = np.zeros(len(shares))
        for i in range(getattr(counts, split)):
            case = int(np.argmax(shares * (i + 1) - given))
            given[case] += 1
            entropy = np.random.SeedSequence([seed, number, i])
            own = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
            plans.append(Plan(len(plans), split, case, own))
    return plans


def valid_times(start_time: str, time_step: str, n_steps: int) -> NDArray[np.datetime64]:
    """Return the times of a trajectory, (n_steps + 1,).

    Raises:
        ValueError: if the start is not a date.
    """
    try:
        start = np.datetime64(start_time, "ns")
    except ValueError:
        raise ValueError(
            f"start_time {start_time!r} is not a date; write it as 2000-01-01 or 2000-01-01T06:00"
        ) from None
    step = TimeStep.parse(time_step)
    return np.concatenate([step.advance(np.array([start]), i) for i in range(n_steps + 1)])


def seconds(text: str) -> int:
    """Return the length of a duration such as "0h", "12h" or "30d" in s.

    Raises:
        ValueError: if the text is neither 0 nor a number with a unit of fixed length.
    """
    if re.fullmatch(r"0+\s*(s|min|h|d)?", text.strip()):
        return 0
    length = TimeStep.parse(text).seconds
    if length is None:
        raise ValueError(f"duration {text!r} is in calendar months; give it in days, as in 30d")
    return length


def n_threads(batch_size: int) -> int:
    """Return the number of threads that share a batch."""
    return max(1, min(torch.get_num_threads(), batch_size // _FEWEST_PER_THREAD))


def batches(plans: Sequence[Plan], batch_size: int, state_bytes: int) -> Iterator[list[Plan]]:
    """Yield groups of trajectories of one case that one thread solves together.

    Args:
        plans: Trajectories to solve.
        batch_size: Number of trajectories that all threads solve at a time.
        state_bytes: Memory of the fields of one trajectory.
    """
    size = min(batch_size, max(1, BATCH_BYTES // state_bytes))
    for case in sorted({p.case for p in plans}):
        same = [p for p in plans if p.case == case]
        share = math.ceil(min(size, len(same)) / n_threads(batch_size))
        for start in range(0, len(same), max(1, share)):
            yield same[start : start + share]
