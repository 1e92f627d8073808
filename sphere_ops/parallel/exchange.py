"""Between rows and wavenumbers: what each rank packs, sends and unpacks.

Going over, a rank sends every other one its rows of the other's wavenumbers; coming back, its
wavenumbers of the other's rows. What stays on a rank is never packed: alone it writes and reads
the layout itself. A layout is (p, b, own orders, nlat, c) with real and imaginary parts along its
first or its last dimension. Sent by a rank with h of nlat rows and k of m wavenumbers, in numbers
of the wire's type: p b c h (m − k) going over, p b c k (nlat − h) coming back.
"""

from __future__ import annotations

from torch import Tensor

from sphere_ops.parallel.mesh import current
from sphere_ops.parallel.partition import Orders, Shard


class ToWavenumbers:
    """From own rows of all wavenumbers to all rows of own wavenumbers.

    Attributes:
        targets: ranges of wavenumbers, and where their own rows (p, b, m, h, c) are to be written
            before `send`.
    """

    def __init__(self, body: Tensor, nlat: int, per_rank: tuple[Orders, ...], shard: Shard) -> None:
        """Prepare.

        Args:
            body: (p, b, own orders, nlat, c), to be filled.
            nlat: rows of the grid.
            per_rank: the wavenumbers of every rank.
            shard: this rank.
        """
        self._body, self._shard, self._nlat = body, shard, nlat
        self._mesh = current()
        p, b, own, _, c = body.shape
        rows = shard.rows(nlat)
        self._sizes_out = [p * b * o.count * shard.n_rows(nlat) * c for o in per_rank]
        self._sizes_in = [p * b * own * other.n_rows(nlat) * c for other in shard.all()]
        self._sizes_out[shard.rank] = self._sizes_in[shard.rank] = 0
        self._send = body.new_empty(sum(self._sizes_out), dtype=self._mesh.wire_dtype(body.dtype))
        pieces = self._send.split(self._sizes_out)
        self.targets: list[tuple[slice, Tensor]] = []
        for rank, (orders, piece) in enumerate(zip(per_rank, pieces, strict=True)):
            own_piece = rank == shard.rank
            shape = p, b, orders.count, shard.n_rows(nlat), c
            target = body[..., rows, :] if own_piece else piece.view(shape)
            self.targets += [(there, target[:, :, here]) for there, here in orders.slots()]

    def send(self) -> None:
        """Begin the exchange."""
        self._arrival = self._mesh.exchange(
            self._send, self._sizes_out, self._sizes_in, "all-to-all, rows to wavenumbers"
        )

    def deliver(self) -> None:
        """Wait for the exchange, and fill the rows of the other ranks."""
        p, b, own, _, c = self._body.shape
        pieces = self._arrival().split(self._sizes_in)
        for other, piece in zip(self._shard.all(), pieces, strict=True):
            if piece.numel():
                shape = p, b, own, other.n_rows(self._nlat), c
                self._body[..., other.rows(self._nlat), :].copy_(piece.view(shape))


class ToRows:
    """From all rows of own wavenumbers to own rows of all wavenumbers; begins the exchange."""

    def __init__(self, body: Tensor, nlat: int, per_rank: tuple[Orders, ...], shard: Shard) -> None:
        """Send.

        Args:
            body: (p, b, own orders, nlat, c).
            nlat: rows of the grid.
            per_rank: the wavenumbers of every rank.
            shard: this rank.
        """
        self._body, self._nlat, self._per_rank, self._shard = body, nlat, per_rank, shard
        mesh = current()
        p, b, own, _, c = body.shape
        sizes_out = [p * b * own * other.n_rows(nlat) * c for other in shard.all()]
        self._sizes_in = [p * b * orders.count * shard.n_rows(nlat) * c for orders in per_rank]
        sizes_out[shard.rank] = self._sizes_in[shard.rank] = 0
        send = body.new_empty(sum(sizes_out), dtype=mesh.wire_dtype(body.dtype))
        for other, piece in zip(shard.all(), send.split(sizes_out), strict=True):
            if piece.numel():
                target = piece.view(p, b, own, other.n_rows(nlat), c)
                target.copy_(body[..., other.rows(nlat), :])
        operation = "all-to-all, wavenumbers to rows"
        self._arrival = mesh.exchange(send, sizes_out, self._sizes_in, operation)

    def sources(self) -> list[tuple[slice, Tensor]]:
        """Wait for the exchange: ranges of wavenumbers with their own rows, (p, b, m, h, c)."""
        p, b, _, _, c = self._body.shape
        rows = self._shard.rows(self._nlat)
        sources = []
        pieces = self._arrival().split(self._sizes_in)
        for rank, (orders, piece) in enumerate(zip(self._per_rank, pieces, strict=True)):
            own_piece = rank == self._shard.rank
            shape = p, b, orders.count, rows.stop - rows.start, c
            source = self._body[..., rows, :] if own_piece else piece.view(shape)
            sources += [(there, source[:, :, here]) for there, here in orders.slots()]
        return sources
