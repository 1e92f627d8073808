"""Optimiser, learning rate and weight average; the only place that knows NVIDIA's apex."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from forecast.training.muon import Muon
from sphere_ops.branches.integral import IntegralConv
from sphere_ops.parallel.mesh import current

OptimizerName = Literal["muon", "adamw", "apex-adam", "apex-lamb"]
_BETAS = (0.9, 0.95)
"""A short memory of the gradient's square lets the rate be high and the run short."""
RATE_FACTOR = "rate_factor"
_APEX = {"apex-adam": "FusedAdam", "apex-lamb": "FusedLAMB"}


@dataclass(frozen=True)
class OptimizerChoice:
    """Which optimiser a run gets, and why.

    Attributes:
        name: of the class that is used.
        reason: why it is not the one that was asked for; empty if it is.
    """

    name: str
    reason: str = ""


def make_optimizer(
    name: OptimizerName,
    module: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    sharded: bool = False,
) -> tuple[torch.optim.Optimizer, OptimizerChoice]:
    """The optimiser that was asked for, or torch's fused AdamW where that one cannot run.

    Biases and other vectors are not decayed. A group of parameters has the entry `RATE_FACTOR`:
    its learning rate over that of the schedule. The k filters of an integral branch have almost the
    same response to a smooth field, and an update moves all their weights by the learning rate, so
    that their sum moves k times as far. Their factor is 1/k.

    Muon takes parameters with the name `weight`, (o, c, ...), for matrices between channels. An
    attribute `complex_weights` of a module names those that have real and imaginary parts in their
    last dimension.

    Args:
        name: "muon" for Muon, "adamw", or "apex-adam" and "apex-lamb" for NVIDIA apex's FusedAdam
            and FusedLAMB.
        module: module whose parameters it changes.
        learning_rate: step size, before the schedule.
        weight_decay: decoupled decay of the matrices.
        sharded: in a mesh every process has the state of some parameters only.

    Returns:
        The optimiser, and what was chosen.
    """
    groups = _groups(module, weight_decay, name)
    settings = {"lr": learning_rate, "betas": _BETAS}
    if name == "muon":
        return _built(Muon, groups, settings, sharded), OptimizerChoice("Muon")
    reason = ""
    if name in _APEX:
        reason = apex_refusal(_APEX[name])
        if not reason:
            optimizer = getattr(importlib.import_module("apex.optimizers"), _APEX[name])
            return _built(optimizer, groups, settings, sharded), OptimizerChoice(
                f"apex.{_APEX[name]}"
            )
    return (
        _built(torch.optim.AdamW, groups, settings | {"fused": True}, sharded),
        OptimizerChoice("torch.optim.AdamW (fused)", reason),
    )


def _groups(module: nn.Module, weight_decay: float, name: OptimizerName) -> list[dict[str, Any]]:
    """Return the parameter groups: by rate, by kind of matrix for Muon, and vectors apart."""
    of_integrals = {id(m.weight): 1 / m.k for m in module.modules() if isinstance(m, IntegralConv)}
    of_complex = {
        id(m.get_parameter(name))
        for m in module.modules()
        for name in getattr(m, "complex_weights", ())
    }
    groups: dict[tuple[float, str | None, bool], list[nn.Parameter]] = {
        (1.0, None, False): [],
        (1.0, None, True): [],
    }
    for path, p in module.named_parameters():
        if p.requires_grad:
            kind, is_vector = None, p.dim() <= 1
            if name == "muon" and id(p) in of_complex:
                kind = "complex"
            elif name == "muon" and not is_vector and path.rpartition(".")[2] == "weight":
                kind = "real"
            key = of_integrals.get(id(p), 1.0), kind, is_vector
            groups.setdefault(key, []).append(p)
    return [
        {
            "params": of,
            "matrices": kind,
            "weight_decay": 0.0 if is_vector else weight_decay,
            RATE_FACTOR: factor,
        }
        for (factor, kind, is_vector), of in groups.items()
        if of
    ]


def _built(
    optimizer: type[torch.optim.Optimizer],
    groups: list[dict[str, Any]],
    settings: dict[str, Any],
    sharded: bool,
) -> torch.optim.Optimizer:
    mesh = current()
    if sharded and mesh.device_mesh is not None:
        from sphere_ops.parallel.sharded_optimizer import (
            ShardedOptimizer,  # its part of torch takes a second
        )

        return ShardedOptimizer(groups, optimizer, mesh, **settings)
    return optimizer(groups, **settings)


def apex_refusal(optimizer: str) -> str:
    """Why an optimiser of NVIDIA's apex cannot be used; empty if it can.

    A build without its CUDA extensions imports and fails when an optimiser is constructed, so
    one is constructed.

    Args:
        optimizer: name of the class, "FusedAdam" or "FusedLAMB".
    """
    try:
        module = importlib.import_module("apex.optimizers")
        constructor = getattr(module, optimizer)
    except Exception as error:  # an unrelated package may raise anything when it is imported
        spec = importlib.util.find_spec("apex")
        if spec is None:
            return "NVIDIA apex is not installed (it is built from source and needs CUDA)"
        folders = [Path(place) for place in spec.submodule_search_locations or ()]
        if not any((folder / "optimizers").is_dir() for folder in folders):
            return (
                "the installed `apex` is not NVIDIA's: `pip install apex` gives an unrelated web "
                "toolkit; uninstall it and build https://github.com/NVIDIA/apex from source"
            )
        return f"NVIDIA apex cannot be imported: {_first_line(error)}"
    try:
        parameter = nn.Parameter(torch.zeros(1, device="cuda" if _has_cuda() else "cpu"))
        constructor([parameter], lr=1e-3)
    except Exception as error:  # what a missing extension raises depends on the version
        return f"apex.optimizers.{optimizer} cannot be constructed: {_first_line(error)}"
    return ""


def optimizer_report() -> dict[str, str]:
    """Every optimiser by its name in a configuration: "available", or why not."""
    report = {"muon": "available", "adamw": "available (torch.optim.AdamW, fused)"}
    for name, optimizer in _APEX.items():
        refusal = apex_refusal(optimizer)
        report[name] = f"torch's AdamW instead: {refusal}" if refusal else "available"
    return report


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up and cosine decay to zero, as a factor of the configured rate.

    Args:
        step: optimiser step, from 0.
        steps: number of optimiser steps.
        warmup: fraction of the steps over which the rate grows.
    """
    rising = max(1, round(warmup * steps))
    if warmup > 0 and step < rising:
        return (step + 1) / rising
    start = rising if warmup > 0 else 0
    return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, steps - start)))


class WeightAverage:
    """Exponential moving average of a module's parameters.

    The decay rises to its value over the first steps, so that the initial weights are forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the module's present weights.

        Args:
            module: what is averaged.
            decay: weight of the past in each update.
        """
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {
            name: p.detach().clone() for name, p in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, p in module.named_parameters():
            self.average[name].lerp_(p.detach(), 1 - decay)

    @torch.no_grad()
    def applied_to(self, module: nn.Module) -> nn.Module:
        """A copy of the module that has the averaged weights."""
        averaged = copy.deepcopy(module)
        for name, p in averaged.named_parameters():
            p.copy_(self.average[name])
        return averaged


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
