"""Processes that compute together, in a mesh of data × latitude; one process is a mesh by itself.

Along `data` ranks have different samples, along `latitude` different rows of the same ones. The
current mesh belongs to the process, as its devices do. Only this module knows torch.distributed,
and only here is asked how many processes there are: to one alone every exchange is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from sphere_ops.parallel.gradients import GradientMean
from sphere_ops.parallel.heartbeat import Heartbeat
from sphere_ops.parallel.partition import Shard

WireDtype = Literal["float32", "bf16"]
Axis = Literal["data", "latitude"]


class MeshError(ConnectionError):
    """Another process of the mesh has died or timed out."""


class Mesh:
    """Mesh of data × latitude processes, seen from one of them.

    Attributes:
        data: this process's shard of the samples.
        latitude: its shard of rows and wavenumbers.
        device_mesh: torch's view of the mesh, for torch's own tools; None of one process.
    """

    def __init__(
        self,
        data: Shard | None = None,
        latitude: Shard | None = None,
        device_mesh: DeviceMesh | None = None,
        heartbeat: Heartbeat | None = None,
        wire_dtype: WireDtype = "float32",
    ) -> None:
        """Make the mesh of one process; `launch.started` makes those of many."""
        self.data, self.latitude = data or Shard(), latitude or Shard()
        self.device_mesh, self._heartbeat = device_mesh, heartbeat
        self._wire_dtype = wire_dtype

    @property
    def is_first(self) -> bool:
        """True on the process that writes files and logs."""
        return self.data.is_first and self.latitude.is_first

    def note(self, activity: str) -> None:
        """Record the activity of this process, which others report if it times out."""
        if self._heartbeat is not None:
            self._heartbeat.note(activity)

    def wire_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the type in which rows and wavenumbers of `dtype` are sent."""
        return torch.bfloat16 if (self._wire_dtype, dtype) == ("bf16", torch.float32) else dtype

    def exchange(
        self,
        send: Tensor,
        sizes_out: Sequence[int],
        sizes_in: Sequence[int],
        operation: str,
        axis: Axis = "latitude",
    ) -> Tensor:
        """Send every rank of an axis its part, and receive one from each.

        Args:
            send: the parts one after another, (Σ sizes_out,).
            sizes_out: numbers for each rank.
            sizes_in: numbers from each rank.
            operation: name of the operation, for errors.
            axis: whose ranks take part.

        Returns:
            The parts received, one after another, (Σ sizes_in,).
        """
        received = send.new_empty(sum(sizes_in))
        if getattr(self, axis).ranks == 1:
            return received
        n = send.element_size()  # as bytes: a backend need not know the type
        with self.watched(operation):
            dist.all_to_all_single(
                received.view(torch.uint8),
                send.view(torch.uint8),
                [n * size for size in sizes_in],
                [n * size for size in sizes_out],
                group=self._group(axis),
            )
        return received

    def sum_rows(self, x: Tensor) -> Tensor:
        """Sum of what the ranks of the latitude axis have of their rows; differentiable.

        The backward pass all-reduces too, so that the gradient of a loss that every rank computes
        is too large by the number of ranks; averaging over ranks corrects the factor.
        """
        if self.latitude.ranks == 1:
            return x
        return cast(Tensor, _SumRows.apply(x, self))

    def gather_rows(self, x: Tensor, nlat: int, *, everywhere: bool = False) -> Tensor:
        """The whole of a field that ranks of the latitude axis have in parts; no gradient.

        Args:
            x: own rows, (..., h, w).
            nlat: number of all rows.
            everywhere: on every rank, or else on the first of the axis; others keep x.
        """
        rows = [shard.n_rows(nlat) for shard in self.latitude.all()]
        shapes = [(*x.shape[:-2], n, x.shape[-1]) for n in rows]
        parts = self._gathered(x, shapes, "latitude", everywhere)
        return x if parts is None else torch.cat(parts, dim=-2)

    def gather_samples(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """The samples that ranks of the data axis have, on the first of the axis; no gradient.

        Args:
            x: own samples, (n, ...); other ranks than the first keep it.
            counts: number of each rank's.
        """
        parts = self._gathered(x, [(n, *x.shape[1:]) for n in counts], "data", False)
        return x if parts is None else torch.cat(parts)

    def _gathered(
        self, x: Tensor, shapes: Sequence[tuple[int, ...]], axis: Axis, everywhere: bool
    ) -> list[Tensor] | None:
        """Gather tensors of the shapes given along an axis; None on ranks that do not want them."""
        shard: Shard = getattr(self, axis)
        if shard.ranks == 1:
            return None
        wanted = [everywhere or other.is_first for other in shard.all()]
        flat = x.detach().contiguous().flatten()
        sizes_in = [wanted[shard.rank] * math.prod(shape) for shape in shapes]
        sizes_out = [flat.numel() * w for w in wanted]
        sizes_in[shard.rank] = sizes_out[shard.rank] = 0
        send = torch.cat([flat[:size] for size in sizes_out])
        received = self.exchange(send, sizes_out, sizes_in, f"gathering along {axis}", axis)
        if not wanted[shard.rank]:
            return None
        pieces = list(received.split(sizes_in))
        pieces[shard.rank] = flat
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def sum_samples(self, x: Tensor) -> Tensor:
        """Sum over the data axis of what is the same on all rows; no gradient."""
        if self.data.ranks > 1:
            with self.watched("sum over the data axis"):
                dist.all_reduce(x, group=self._group("data"))
        return x

    def mean_samples(self, x: Tensor) -> Tensor:
        """Mean over the data axis of what is the same on all rows; no gradient."""
        return self.sum_samples(x / self.data.ranks)

    def std_mean(self, x: Tensor, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """`torch.std_mean` over dims of which one is that of the rows, keeping them.

        Args:
            x: own rows.
            dim: dimensions of the mean.
        """
        if self.latitude.ranks == 1:
            return torch.std_mean(x, dim=dim, keepdim=True)
        own = x.double().sum(dim=dim, keepdim=True)
        count = self.sum_rows(torch.full_like(own, x.numel() / own.numel()))
        mean = self.sum_rows(own) / count
        squares = (x - mean).square().sum(dim=dim, keepdim=True)
        std = (self.sum_rows(squares) / (count - 1)).sqrt()
        return std.to(x.dtype), mean.to(x.dtype)

    def gradient_mean(self, parameters: Iterable[nn.Parameter]) -> GradientMean:
        """Return an object that replaces gradients by their mean over all processes."""
        return GradientMean([] if self.device_mesh is None else list(parameters), self)

    def mean(self, x: Tensor) -> Callable[[], None]:
        """Start the all-reduce of x to its mean over all processes; call the result to wait."""
        x /= self.data.ranks * self.latitude.ranks
        with self.watched("mean of the gradients"):
            work = dist.all_reduce(x, async_op=True)

        def wait() -> None:
            with self.watched("mean of the gradients"):
                work.wait()

        return wait

    def any_rank(self, flag: bool) -> bool:
        """Return True if the flag is set on any process."""
        if self.device_mesh is None:
            return flag
        flags = torch.tensor(float(flag), device=self.device_mesh.device_type)
        with self.watched("agreement of all processes"):
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def broadcast(self, value: Any) -> Any:
        """Return the JSON-like value of the first process."""
        if self.device_mesh is None:
            return value
        values = [value]
        with self.watched("broadcast from the first process"):
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def all_gather(self, value: Any) -> list[Any]:
        """Return the JSON-like value of each rank of the data axis."""
        values = [value] * self.data.ranks
        if self.data.ranks > 1:
            with self.watched("all-gather along the data axis"):
                dist.all_gather_object(values, value, group=self._group("data"))
        return values

    def _group(self, axis: Axis) -> Any:
        assert self.device_mesh is not None
        return self.device_mesh.get_group(axis)

    @contextmanager
    def watched(self, operation: str) -> Iterator[None]:
        """Turn a torch error inside into one that names the missing rank and its last activity."""
        assert self._heartbeat is not None
        self._heartbeat.begin(operation)
        try:
            yield
        except RuntimeError as error:
            raise MeshError(self._heartbeat.explain(operation, error)) from error


class _SumRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mesh: Mesh) -> Tensor:
        ctx.mesh = mesh
        return _summed(x, mesh)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _summed(grad, ctx.mesh), None


def _summed(x: Tensor, mesh: Mesh) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    with mesh.watched("sum over the latitude axis"):
        dist.all_reduce(total, group=mesh._group("latitude"))
    return total


SINGLE_PROCESS = Mesh()
_current = SINGLE_PROCESS


def current() -> Mesh:
    """The mesh that this process computes in."""
    return _current


@contextmanager
def use(mesh: Mesh) -> Iterator[Mesh]:
    """Compute in a mesh while the block lasts; in `SINGLE_PROCESS`, with whole fields."""
    global _current
    before, _current = _current, mesh
    try:
        yield mesh
    finally:
        _current = before
