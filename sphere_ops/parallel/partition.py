"""Partition of rows and wavenumbers over the ranks of a mesh axis.

Between layers a rank holds some rows of every field, inside a layer some wavenumbers of all rows.
Rows are split evenly, in order. Order m has lmax − m degrees, so that m and mmax − 1 − m together
cost the same for every m. Orders below `mmax`, on which Legendre functions act, are therefore
assigned in such pairs. The orders from `mmax` on equalise the number of orders per rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Orders:
    """Set of wavenumbers, as ascending ranges of consecutive ones.

    Attributes:
        ranges: First and last (exclusive) wavenumber of each range.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of wavenumbers."""
        return sum(last - first for first, last in self.ranges)

    @property
    def index(self) -> Tensor:
        """Wavenumbers, (count,) int64."""
        return torch.cat([torch.arange(0), *(torch.arange(*r) for r in self.ranges)])

    def count_below(self, limit: int) -> int:
        """Return the number of wavenumbers below `limit`."""
        return sum(max(0, min(last, limit) - first) for first, last in self.ranges)

    def below(self, limit: int) -> Orders:
        """Return the wavenumbers below `limit`."""
        return Orders(tuple((a, min(e, limit)) for a, e in self.ranges if a < limit))

    def slots(self) -> Iterator[tuple[slice, slice]]:
        """Yield each range, and the slice of its positions among these wavenumbers."""
        start = 0
        for first, last in self.ranges:
            yield slice(first, last), slice(start, start + last - first)
            start += last - first


@dataclass(frozen=True)
class Shard:
    """Part of one rank along a mesh axis; the whole on a single rank.

    Attributes:
        rank: Index of the rank along the axis.
        ranks: Number of ranks along the axis.
    """

    rank: int = 0
    ranks: int = 1

    @property
    def is_first(self) -> bool:
        """True on the first rank of the axis."""
        return self.rank == 0

    def all(self) -> list[Shard]:
        """Return the shards of all ranks of the axis."""
        return [Shard(rank, self.ranks) for rank in range(self.ranks)]

    def rows(self, nlat: int) -> slice:
        """Return this rank's rows of a grid.

        Raises:
            ValueError: If the grid has fewer rows than the axis has ranks.
        """
        if nlat < self.ranks:
            raise ValueError(
                f"a grid of {nlat} rows cannot be split over {self.ranks} ranks; choose a mesh "
                f"with latitude {nlat} or less"
            )
        return self.part(nlat)

    def part(self, count: int) -> slice:
        """Return this rank's slice of `count` items, split evenly; it may be empty."""
        return split_evenly(0, count, self.ranks)[self.rank]

    def n_rows(self, nlat: int) -> int:
        """Return the number of this rank's rows."""
        rows = self.rows(nlat)
        return rows.stop - rows.start

    def orders(self, count: int, mmax: int | None = None) -> Orders:
        """Return this rank's wavenumbers.

        Args:
            count: Number of all wavenumbers.
            mmax: Limit below which wavenumbers are assigned in pairs; `count` if not given.
        """
        return _partition(count, count if mmax is None else mmax, self.ranks)[self.rank]


def _partition(count: int, mmax: int, ranks: int) -> tuple[Orders, ...]:
    half = (mmax + 1) // 2
    mirrored = [-(-i * half // ranks) for i in range(ranks + 1)]
    others = [mmax]
    for i in range(1, ranks):  # equal totals per rank, as nearly as possible
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
