"""Passes of a layer that are timed, and their row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.speed.measure import Row


def forward_pass(layer: nn.Module, data: Tensor) -> Callable[[], object]:
    """Return a forward pass without gradients."""

    def forward() -> None:
        with torch.no_grad():
            layer(data)

    return forward


def training_pass(layer: nn.Module, data: Tensor) -> Callable[[], object]:
    """Return a forward and backward pass, with a gradient that is neither 0 nor 1."""
    data = data.detach().requires_grad_()
    with torch.no_grad():
        gradient = torch.randn_like(layer(data))

    def step() -> None:
        data.grad = None
        layer.zero_grad(set_to_none=True)
        layer(data).backward(gradient)

    return step


def timed_row(name: str, shape: str, times: dict, peer: str, difference: float | None) -> Row:
    """Return a row of minima and medians, ms, from the timings of `ours` and `peer`."""
    ours, other = times["ours"], times["peer"]
    return Row(
        name,
        shape,
        ours.minimum * 1e3,
        other.minimum * 1e3,
        peer,
        other.minimum / ours.minimum,
        "ms",
        difference,
        ours.median * 1e3,
        other.median * 1e3,
    )
