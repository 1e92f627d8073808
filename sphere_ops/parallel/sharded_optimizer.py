"""Optimiser whose state is partitioned over the ranks of a mesh (ZeRO-1)."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

from sphere_ops.parallel.mesh import Mesh


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """Torch's ZeRO-1 optimiser.

    Each rank holds the state of some parameters, updates them, and broadcasts them. All ranks hold
    all parameters. State dicts are those of the plain optimiser: each can load the other's.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        optimizer_class: type[Optimizer],
        mesh: Mesh,
        **settings: Any,
    ) -> None:
        """Partition the parameters.

        Args:
            groups: Parameter groups, as of any optimiser; the same on all ranks.
            optimizer_class: Optimiser with which each rank updates its parameters.
            mesh: Mesh of several ranks.
            settings: Keyword arguments of the optimiser.
        """
        super().__init__(groups, optimizer_class, **settings)
        self._mesh = mesh

    def step(self, closure: Any = None, **kwargs: Any) -> Any:
        """Update all parameters; a collective operation."""
        with self._mesh.watched("broadcast of updated weights"):
            return super().step(closure, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state on rank 0, and an empty one elsewhere; a collective operation."""
        with self._mesh.watched("gathering the optimiser's state"):
            self.consolidate_state_dict()
        if not self._mesh.is_first:
            return Optimizer.state_dict(self)
        whole = super().state_dict()
        self._all_state_dicts: list[dict[str, Any]] = []
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load this rank's part of a whole state."""
        super().load_state_dict(state_dict)
        self.state.clear()  # torch keeps a second copy here
        for parameter, state in self.optim.state.items():
            for name, value in state.items():  # torch leaves step counts on the CPU
                if isinstance(value, torch.Tensor):
                    state[name] = value.to(parameter.device)
