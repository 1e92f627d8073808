"""The mean of gradients over all processes, computed while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

_BUCKET_BYTES = 16 * 2**20
"""Gradients that are sent together: enough for the bandwidth, few enough to begin early."""


class _Averages(Protocol):
    def mean(self, x: Tensor) -> Callable[[], None]: ...


class GradientMean:
    """Gradients of replicated parameters, each with its process's part, replaced by their mean.

    Along `data` the mean is that of the samples. Along `latitude` every process computes the whole
    loss with sums whose gradients are summed as well, so that its gradients are its part times the
    number of processes: their mean is the sum of the parts.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], mesh: _Averages) -> None:
        """Prepare buckets, in the order in which a backward pass is likely to fill them.

        Args:
            parameters: the same in all processes; none if there is nothing to average.
            mesh: object whose `mean` averages over all processes.
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
        """The backward pass inside completes the gradients, which have their mean afterwards."""
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
        # In the same order everywhere, whatever the order of the backward pass.
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = torch.cat([g.flatten() for g in gradients])
        self._sent.append((flat, self._mesh.mean(flat)))
