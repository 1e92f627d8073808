"""Exchange of rows for wavenumbers between the ranks of the latitude axis.

Between layers a rank holds its rows of all wavenumbers, inside a layer its wavenumbers of all rows.
To wavenumbers, each rank sends each peer its rows of the peer's wavenumbers. To rows, it sends each
peer the peer's rows of its own wavenumbers. Its own rows of its own wavenumbers are never packed:
on a single rank the layout is written and read in place.

A layout is (p, b, own orders, nlat, c), with real and imaginary part along its first or its last
dimension. A rank with h of nlat rows and k of m wavenumbers sends p b c h (m − k) numbers of the
wire dtype to wavenumbers, and p b c k (nlat − h) to rows.
"""

from __future__ import annotations

from torch import Tensor

from sphere_ops.parallel.mesh import current
from sphere_ops.parallel.partition import Orders, Shard

Ranges = list[tuple[slice, Tensor]]
"""Ranges of wavenumbers, each with this rank's rows of them, (p, b, m, h, c)."""


class ToWavenumbers:
    """Exchange from own rows of all wavenumbers to all rows of own wavenumbers.

    Attributes:
        targets: Ranges of wavenumbers, each with the tensor (p, b, m, h, c) to fill with this
            rank's rows before `finish`.
    """

    def __init__(self, body: Tensor, nlat: int, per_rank: tuple[Orders, ...], shard: Shard) -> None:
        """Allocate the send buffer.

        Args:
            body: Layout to fill, (p, b, own orders, nlat, c).
            nlat: Number of rows of the grid.
            per_rank: Wavenumbers of every rank.
            shard: This rank.
        """
        self._body, self._shard, self._nlat = body, shard, nlat
        p, b, own, _, c = body.shape
        h = shard.n_rows(nlat)
        self._sizes_out = [p * b * orders.count * h * c for orders in per_rank]
        self._sizes_in = [p * b * own * other.n_rows(nlat) * c for other in shard.all()]
        self._sizes_out[shard.rank] = self._sizes_in[shard.rank] = 0
        dtype = current().wire_dtype(body.dtype)
        self._send = body.new_empty(sum(self._sizes_out), dtype=dtype)
        own_part = body[..., shard.rows(nlat), :]
        self.targets = _ranges(self._send, self._sizes_out, (p, b, h, c), own_part, per_rank, shard)

    def finish(self) -> None:
        """Exchange, and fill the rows that come from the other ranks."""
        p, b, own, _, c = self._body.shape
        received = current().exchange(
            self._send, self._sizes_out, self._sizes_in, "all-to-all, rows to wavenumbers"
        )
        for other, part in zip(self._shard.all(), received.split(self._sizes_in), strict=True):
            if part.numel():
                shape = p, b, own, other.n_rows(self._nlat), c
                self._body[..., other.rows(self._nlat), :].copy_(part.view(shape))


def wavenumbers_to_rows(
    body: Tensor, nlat: int, per_rank: tuple[Orders, ...], shard: Shard
) -> Ranges:
    """Exchange all rows of own wavenumbers for own rows of all wavenumbers.

    Args:
        body: Layout, (p, b, own orders, nlat, c).
        nlat: Number of rows of the grid.
        per_rank: Wavenumbers of every rank.
        shard: This rank.

    Returns:
        Ranges of wavenumbers, each with this rank's rows of them.
    """
    p, b, own, _, c = body.shape
    h = shard.n_rows(nlat)
    sizes_out = [p * b * own * other.n_rows(nlat) * c for other in shard.all()]
    sizes_in = [p * b * orders.count * h * c for orders in per_rank]
    sizes_out[shard.rank] = sizes_in[shard.rank] = 0
    send = body.new_empty(sum(sizes_out), dtype=current().wire_dtype(body.dtype))
    for other, part in zip(shard.all(), send.split(sizes_out), strict=True):
        if part.numel():
            rows = other.rows(nlat)
            part.view(p, b, own, rows.stop - rows.start, c).copy_(body[..., rows, :])
    received = current().exchange(send, sizes_out, sizes_in, "all-to-all, wavenumbers to rows")
    own_part = body[..., shard.rows(nlat), :]
    return _ranges(received, sizes_in, (p, b, h, c), own_part, per_rank, shard)


def _ranges(
    packed: Tensor,
    sizes: list[int],
    shape: tuple[int, int, int, int],
    own: Tensor,
    per_rank: tuple[Orders, ...],
    shard: Shard,
) -> Ranges:
    """Return views of each rank's packed part, and of this rank's own part, by range of orders."""
    p, b, h, c = shape
    ranges: Ranges = []
    for rank, (orders, part) in enumerate(zip(per_rank, packed.split(sizes), strict=True)):
        of_rank = own if rank == shard.rank else part.view(p, b, orders.count, h, c)
        ranges += [(there, of_rank[:, :, here]) for there, here in orders.slots()]
    return ranges
