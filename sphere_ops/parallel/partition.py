"""Partition of the rows of a grid and of wavenumbers over the ranks of an axis of a mesh.

Between layers a rank has some rows of every field, inside a layer some wavenumbers of all rows.
Rows are split evenly, in order. The orders below `mmax`, on which Legendre functions act, are taken
in pairs m and mmax − 1 − m: order m has lmax − m degrees, so that m and mmax − 1 − m together cost
the same everywhere. The orders from `mmax` on even out the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Orders:
    """Wavenumbers in ascending order, as few ranges of neighbours.

    Attributes:
        ranges: first and last (exclusive) of each range.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of the orders."""
        return sum(last - first for first, last in self.ranges)

    @property
    def index(self) -> Tensor:
        """The orders themselves, (count,) int64."""
        return torch.cat([torch.arange(0), *(torch.arange(*r) for r in self.ranges)])

    def count_below(self, limit: int) -> int:
        """Return the number of orders smaller than `limit`."""
        return sum(max(0, min(last, limit) - first) for first, last in self.ranges)

    def below(self, limit: int) -> Orders:
        """Return the orders smaller than `limit`."""
        return Orders(tuple((a, min(e, limit)) for a, e in self.ranges if a < limit))

    def slots(self) -> Iterator[tuple[slice, slice]]:
        """Yield each range of orders, and its slots: its positions among these orders."""
        start = 0
        for first, last in self.ranges:
            yield slice(first, last), slice(start, start + last - first)
            start += last - first


@dataclass(frozen=True)
class Shard:
    """Part of one rank of an axis; of a single rank it is everything.

    Attributes:
        rank: index of the part.
        ranks: number of parts.
    """

    rank: int = 0
    ranks: int = 1

    @property
    def is_first(self) -> bool:
        """True on the first rank of the axis."""
        return self.rank == 0

    def all(self) -> list[Shard]:
        """Return the shards of all ranks."""
        return [Shard(rank, self.ranks) for rank in range(self.ranks)]

    def rows(self, nlat: int) -> slice:
        """Return this rank's rows of a grid.

        Raises:
            ValueError: if there are fewer rows than ranks.
        """
        if nlat < self.ranks:
            raise ValueError(
                f"a grid of {nlat} rows cannot be split over {self.ranks} ranks; take a mesh with "
                f"latitude {nlat} or less"
            )
        return self.part(nlat)

    def part(self, count: int) -> slice:
        """Return this rank's part of a sequence, split evenly; it may be empty."""
        return split_evenly(0, count, self.ranks)[self.rank]

    def n_rows(self, nlat: int) -> int:
        """Return the number of this rank's rows."""
        rows = self.rows(nlat)
        return rows.stop - rows.start

    def orders(self, count: int, mmax: int | None = None) -> Orders:
        """Return this rank's wavenumbers.

        Args:
            count: number of all wavenumbers.
            mmax: orders below it are split in pairs of equal cost; all, if not given.
        """
        return _partition(count, count if mmax is None else mmax, self.ranks)[self.rank]


def _partition(count: int, mmax: int, ranks: int) -> tuple[Orders, ...]:
    half = (mmax + 1) // 2
    mirrored = [-(-i * half // ranks) for i in range(ranks + 1)]
    others = [mmax]
    for i in range(1, ranks):  # so that everyone has about as many in all
        enough = mmax + round(i * count / ranks) - min(mmax, 2 * mirrored[i])
        others.append(min(max(others[-1], enough), count))
    others.append(count)
    per_rank = []
    for i in range(ranks):
        first, last = mirrored[i], mirrored[i + 1]
        parts = [(first, last), (max(last, mmax - last), mmax - first), (others[i], others[i + 1])]
        ranges: list[tuple[int, int]] = []
        for a, e in parts:
            if ranges and a == ranges[-1][1] and a < e:
                ranges[-1] = ranges[-1][0], e
            elif a < e:
                ranges.append((a, e))
        per_rank.append(Orders(tuple(ranges)))
    return tuple(per_rank)


def split_evenly(first: int, last: int, parts: int) -> list[slice]:
    """Split a range into consecutive parts whose lengths differ by at most one."""
    edges = [first + round(i * (last - first) / parts) for i in range(parts + 1)] if parts else []
    return [slice(a, e) for a, e in zip(edges, edges[1:], strict=False)]
