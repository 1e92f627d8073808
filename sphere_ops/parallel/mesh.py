"""Mesh of processes with the axes data × latitude; a single process is a mesh of one.

Along `data`, ranks hold different samples. Along `latitude`, they hold different rows of the same
samples. The current mesh is a property of the process, like its devices. Only `sphere_ops.parallel`
imports torch.distributed and compares numbers of ranks: on one rank every exchange is the identity.
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
    """Failure of another rank of the mesh, or a timeout."""


class Mesh:
    """Position of this process in the mesh, and its collective operations.

    Attributes:
        data: Shard of the samples.
        latitude: Shard of rows and wavenumbers.
        device_mesh: Mesh as torch's object, for torch's own tools; None on a single process.
    """

    def __init__(
        self,
        data: Shard | None = None,
        latitude: Shard | None = None,
        device_mesh: DeviceMesh | None = None,
        heartbeat: Heartbeat | None = None,
        wire_dtype: WireDtype = "float32",
    ) -> None:
        """Create a mesh, by default of one process; `launch.started` creates that of many."""
        self.data, self.latitude = data or Shard(), latitude or Shard()
        self.device_mesh, self._heartbeat = device_mesh, heartbeat
        self._wire_dtype = wire_dtype

    @property
    def is_first(self) -> bool:
        """True on the rank that writes files and logs."""
        return self.data.is_first and self.latitude.is_first

    def note(self, activity: str) -> None:
        """Record the activity of this rank, which is reported if the rank times out."""
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
        """Exchange parts of different sizes between all ranks of an axis (all-to-all).

        Args:
            send: Parts for each rank, concatenated, (Σ sizes_out,).
            sizes_out: Count of numbers sent to each rank.
            sizes_in: Count of numbers received from each rank.
            operation: Name of the operation in error messages.
            axis: Axis of the ranks that take part.

        Returns:
            Parts from each rank, concatenated, (Σ sizes_in,).
        """
        received = send.new_empty(sum(sizes_in))
        if getattr(self, axis).ranks == 1:
            return received
        n = send.element_size()  # sent as bytes: a backend need not support the type
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
        """All-reduce (sum) over the latitude axis; differentiable.

        The backward pass all-reduces too. For a loss that every rank computes, gradients are too
        large by the number of ranks; averaging over ranks (`GradientMean`) corrects the factor.
        """
        if self.latitude.ranks == 1:
            return x
        return cast(Tensor, _SumRows.apply(x, self))

    def gather_rows(self, x: Tensor, nlat: int, *, everywhere: bool = False) -> Tensor:
        """Gather the rows of a field over the latitude axis; no gradient.

        Args:
            x: This rank's rows, (..., h, w).
            nlat: Number of rows of the whole field.
            everywhere: True to gather on every rank, False on the first of the axis only.

        Returns:
            The whole field, (..., nlat, w), where it is gathered; x elsewhere.
        """
        rows = [shard.n_rows(nlat) for shard in self.latitude.all()]
        shapes = [(*x.shape[:-2], n, x.shape[-1]) for n in rows]
        parts = self._gathered(x, shapes, "latitude", everywhere)
        return x if parts is None else torch.cat(parts, dim=-2)

    def _gathered(
        self, x: Tensor, shapes: Sequence[tuple[int, ...]], axis: Axis, everywhere: bool
    ) -> list[Tensor] | None:
        """Return the tensors of all ranks of an axis, of the given shapes; None elsewhere."""
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
        """All-reduce (sum) over the data axis; no gradient. x is equal along latitude."""
        if self.data.ranks > 1:
            with self.watched("sum over the data axis"):
                dist.all_reduce(x, group=self._group("data"))
        return x

    def mean_samples(self, x: Tensor) -> Tensor:
        """All-reduce (mean) over the data axis; no gradient. x is equal along latitude."""
        return self.sum_samples(x / self.data.ranks)

    def std_mean(self, x: Tensor, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return `torch.std_mean` of the whole field over dims that include the rows.

        Args:
            x: This rank's rows, (..., h, w).
            dim: Dimensions of the mean, which are kept with size 1.
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
        """Return an object that replaces gradients by their mean over all ranks."""
        return GradientMean([] if self.device_mesh is None else list(parameters), self)

    def mean(self, x: Tensor) -> Callable[[], None]:
        """Start to replace x by its mean over all ranks; return a function that waits for it."""
        x /= self.data.ranks * self.latitude.ranks
        with self.watched("mean of the gradients"):
            work = dist.all_reduce(x, async_op=True)

        def wait() -> None:
            with self.watched("mean of the gradients"):
                work.wait()

        return wait

    def any_rank(self, flag: bool) -> bool:
        """Return True if the flag is set on any rank."""
        if self.device_mesh is None:
            return flag
        flags = torch.tensor(float(flag), device=self.device_mesh.device_type)
        with self.watched("all-reduce of a flag"):
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0, JSON-like data."""
        if self.device_mesh is None:
            return value
        values = [value]
        with self.watched("broadcast from rank 0"):
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks of the data axis, JSON-like data."""
        values = [value] * self.data.ranks
        if self.data.ranks > 1:
            with self.watched("all-gather over the data axis"):
                dist.all_gather_object(values, value, group=self._group("data"))
        return values

    def _group(self, axis: Axis) -> Any:
        assert self.device_mesh is not None
        return self.device_mesh.get_group(axis)

    @contextmanager
    def watched(self, operation: str) -> Iterator[None]:
        """Re-raise a torch error as a MeshError that names the missing ranks."""
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
    """Return the current mesh of this process."""
    return _current


@contextmanager
def use(mesh: Mesh) -> Iterator[Mesh]:
    """Make a mesh current in a context; with `SINGLE_PROCESS`, fields are whole."""
    global _current
    before, _current = _current, mesh
    try:
        yield mesh
    finally:
        _current = before
