"""Muon for stacks of matrices, with AdamW for all other weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of a polynomial whose iterates take singular values to about one (Jordan)."""
_ITERATIONS = 5
_RMS = 0.2
"""Root mean square of the entries of an update at a learning rate of one: about that of AdamW's."""


class Muon(AdamW):
    """Muon: the momentum of a matrix moves it along all its directions alike.

    The update of a matrix is its momentum M = U Σ Vᵀ with all singular values set to about one,
    U Vᵀ, by five Newton-Schulz iterations. Muon is by Jordan et al. (2024,
    https://kellerjordan.github.io/posts/muon/); the scale of the update, with which the learning
    rate is that of AdamW, is by Liu et al. (arXiv 2502.16982). `torch.optim.Muon` takes single
    matrices only: here a weight (o, c, ...) is a stack of matrices (o, c), one for each degree or
    filter.

    A group of parameters has the entry "matrices": None for those that AdamW updates, "real", or
    "complex" for complex matrices, also as pairs of real and imaginary parts (o, c, ..., 2).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 2e-2,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
    ) -> None:
        """Prepare the groups.

        Args:
            groups: Groups of parameters with the entry "matrices".
            lr: Learning rate.
            momentum: Weight of the past in the momentum of the matrices.
            betas: Weights of the past in the moments of AdamW.
            weight_decay: Decoupled decay of all parameters, over the learning rate.
        """
        super().__init__(list(groups), lr=lr, betas=betas, weight_decay=weight_decay)
        for group in self.param_groups:
            group.setdefault("matrices", None)
            group["momentum"] = momentum

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state; AdamW's method expects its moments of all parameters."""
        Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Args:
            closure: Function that computes the gradients and returns the loss.

        Returns:
            What the closure returns.
        """
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["matrices"]]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                self._step_matrices(group)
        return loss

    def _step_matrices(self, group: Mapping[str, Any]) -> None:
        is_complex = group["matrices"] == "complex"
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault(parameter.shape[:2], []).append(parameter)
        for shape, of in by_shape.items():
            moments = [stack(self._momentum(p, group["momentum"]), is_complex) for p in of]
            updates = orthogonalized(torch.cat(moments)) * (_RMS * math.sqrt(max(shape)))
            parts = updates.split([len(m) for m in moments])
            for parameter, update in zip(of, parts, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                stack(parameter, is_complex).sub_(update, alpha=group["lr"])

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Return the momentum one step ahead (Nesterov's), after taking in the gradient."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum).contiguous()


def stack(weight: Tensor, is_complex: bool) -> Tensor:
    """Return a weight (o, c, ...) as a view (n, o, c) of n matrices.

    Args:
        weight: Weight of at least two dimensions.
        is_complex: Whether the matrices are complex; then a real weight is (o, c, ..., 2).
    """
    if is_complex and not weight.is_complex():
        weight = torch.view_as_complex(weight)
    if weight.dim() == 2:
        return weight[None]
    return weight.view(*weight.shape[:2], -1).movedim(-1, 0)


def orthogonalized(x: Tensor) -> Tensor:
    """Return matrices with the same singular vectors and singular values between 0.7 and 1.2.

    Singular values far below the norm of their matrix, by a factor of 500 and more, get less.

    Args:
        x: Matrices, (n, rows, columns), real or complex.
    """
    a, b, c = _COEFFICIENTS
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-30)
    for _ in range(_ITERATIONS):
        gram = x @ x.mH
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
