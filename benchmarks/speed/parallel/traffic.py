"""Traffic of a process: calls of collectives of torch.distributed, and bytes sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor


@dataclass
class Traffic:
    """Traffic of one rank.

    Attributes:
        calls: Number of collectives, and of exchanges with neighbours, that involve other ranks.
        sent: Bytes sent.
    """

    calls: int = 0
    sent: float = 0.0


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _all_to_all_single(
    _: Tensor,
    send: Tensor,
    sizes_in: object = None,
    sizes_out: Any = None,
    group: Any = None,
    **__: Any,
) -> float:
    if sizes_out is None:
        return _bytes([send]) * (1 - 1 / dist.get_world_size(group))
    own = sizes_out[dist.get_rank(group)] / max(1, sum(sizes_out))
    return _bytes([send]) * (1 - own)


def _parts(parts: Sequence[Tensor], group: Any) -> float:
    return _bytes(parts) - _bytes([parts[dist.get_rank(group)]])


def _all_to_all(_: object, send: list[Tensor], group: Any = None, **__: Any) -> float:
    return _parts(send, group)


def _reduce_scatter(
    _: Tensor, send: list[Tensor], op: object = None, group: Any = None, **__: Any
) -> float:
    return _parts(send, group)


def _all_gather(_: object, send: Tensor, group: Any = None, **__: Any) -> float:
    return _bytes([send]) * (dist.get_world_size(group) - 1)


def _all_reduce(x: Tensor, op: object = None, group: Any = None, **_: Any) -> float:
    ranks = dist.get_world_size(group)
    return _bytes([x]) * 2 * (ranks - 1) / ranks


def _neighbours(operations: list[dist.P2POp]) -> float:
    return _bytes([x.tensor for x in operations if x.op is dist.isend])


_SENT: dict[str, Callable[..., float]] = {
    "all_to_all_single": _all_to_all_single,
    "all_to_all": _all_to_all,
    "all_gather": _all_gather,
    "all_reduce": _all_reduce,
    "reduce_scatter": _reduce_scatter,
    "batch_isend_irecv": _neighbours,
}


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count the traffic of this rank inside the `with` block.

    The part that a rank keeps is not counted. Reductions count as ring algorithms: 2 (p − 1) / p of
    the tensor for an all-reduce, (p − 1) / p for a reduce-scatter, which no algorithm undercuts.
    Only these six collectives are counted.
    """
    traffic = Traffic()
    originals = {name: getattr(dist, name) for name in _SENT}

    def counting(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            traffic.calls += 1
            traffic.sent += _SENT[name](*args, **kwargs)
            return originals[name](*args, **kwargs)

        return call

    for name in originals:
        setattr(dist, name, counting(name))
    try:
        yield traffic
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)
