"""Optimiser whose state is partitioned over the processes of a mesh."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

from sphere_ops.parallel.mesh import Mesh


class ShardedOptimizer(ZeroRedundancyOptimizer):
    """Torch's ZeRO-1: a process has the state of some parameters, changes them and sends them.

    Its state dict is that of the plain optimiser, so that either goes on from the other's.
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
            groups: groups of parameters, as for any optimiser; the same in all processes.
            optimizer_class: class of the optimiser of each process's parameters.
            mesh: mesh of several processes.
            settings: settings of the optimiser.
        """
        super().__init__(groups, optimizer_class, **settings)
        self._mesh = mesh

    def step(self, closure: Any = None, **kwargs: Any) -> Any:
        """One step of all parameters; all processes take it together."""
        with self._mesh.watched("sharing the new weights"):
            return super().step(closure, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """The whole state on the first process, none on the others; all have to ask for it."""
        with self._mesh.watched("gathering the optimiser's state"):
            self.consolidate_state_dict()
        if not self._mesh.is_first:
            return Optimizer.state_dict(self)
        whole = super().state_dict()
        self._all_state_dicts: list[dict[str, Any]] = []
        return whole

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the own part of a whole state."""
        super().load_state_dict(state_dict)
        self.state.clear()  # a second copy
        for parameter, state in self.optim.state.items():
            for name, value in state.items():  # torch leaves counts of steps on the CPU
                if isinstance(value, torch.Tensor):
                    state[name] = value.to(parameter.device)
