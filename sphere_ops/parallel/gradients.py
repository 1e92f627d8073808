"""Mean of gradients over all ranks, overlapped with the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

_BUCKET_BYTES = 16 * 2**20
"""Size of one all-reduce: large enough for the bandwidth, small enough to start early."""


class _Averages(Protocol):
    def mean(self, x: Tensor) -> Callable[[], None]: ...


class GradientMean:
    """Mean over all ranks of the gradients of replicated parameters.

    Along `data` it is the mean over samples. Along `latitude` every rank computes the whole loss,
    and the backward pass of `Mesh.sum_rows` all-reduces too. The gradients of a rank are then its
    part times the number of ranks, and their mean is the sum of the parts.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], mesh: _Averages) -> None:
        """Prepare buckets, in the order in which a backward pass is likely to fill them.

        Args:
            parameters: Parameters, the same on all ranks; empty on a single process.
            mesh: Mesh that computes the means.
        """
        self._mesh, self._active = mesh, False
        self._buckets: list[list[nn.Parameter]] = []
        size = _BUCKET_BYTES
        for p in reversed([p for p in parameters if p.requires_grad]):
            if size >= _BUCKET_BYTES or p.dtype != self._buckets[-1][0].dtype:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(p)
            size += p.numel() * p.element_size()
        self._bucket_of = {id(p): i for i, ps in enumerate(self._buckets) for p in ps}
        for p in (p for bucket in self._buckets for p in bucket):
            p.register_post_accumulate_grad_hook(self._arrived)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replace the gradients of the backward pass in this context by their mean."""
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sent: list[tuple[Tensor, Callable[[], None]]] = []
        self._active = True
        try:
            yield
        finally:
            self._active = False
        while len(self._sent) < len(self._buckets):  # some parameters have no gradient
            self._send()
        for bucket, (flat, wait) in zip(self._buckets, self._sent, strict=True):
            wait()
            parts = flat.split([p.numel() for p in bucket])
            for p, part in zip(bucket, parts, strict=True):
                if p.grad is not None:
                    p.grad.copy_(part.view_as(p))
        self._sent = []

    def _arrived(self, p: Tensor) -> None:
        if not self._active:
            return
        self._missing[self._bucket_of[id(p)]] -= 1
        # All ranks send buckets in the same order, whatever the order of the backward pass.
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = torch.cat([g.flatten() for g in gradients])
        self._sent.append((flat, self._mesh.mean(flat)))
