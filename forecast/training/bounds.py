"""Sizes of a model, checked against its grid and the memory before anything is built."""

from __future__ import annotations

import math

import torch

from configs.model import IntegralBranch, ModelConfig
from configs.schema import Config
from forecast.training.memory import what_would_fit
from sphere_ops.grid import Grid
from sphere_ops.kernels.disco import basis_size, has_empty_filter, smallest_cutoff
from sphere_ops.memory import available_memory
from sphere_ops.parallel.mesh import current

_DERIVATIVES = {1: 2, 2: 5}
"""Weights of the differential branch for each pair of channels, by its order."""


def check_bounds(config: Config, grid: Grid, device: torch.device) -> None:
    """Refuse a model that the grid does not resolve, or that cannot fit in memory.

    Args:
        config: the experiment.
        grid: of the data.
        device: where it is trained.

    Raises:
        ValueError: naming the key, and the largest or smallest value that is possible.
    """
    model = config.model
    inner = grid if model.grid is None else Grid.of(**model.grid.model_dump())
    most = min(grid.nlat, inner.nlat)
    spectral, integral = model.branches.spectral, model.branches.integral
    if spectral is not None and spectral.lmax > most:
        raise ValueError(
            f"model.branches.spectral.lmax is {spectral.lmax}, but a grid of {most} rows resolves "
            f"no more than {most} degrees; take at most {most}"
        )
    if integral is not None:
        _check_cutoff(integral, inner)
    available, of_weights = _available(device), _memory_of_weights(config)
    if of_weights > available:
        raise ValueError(
            f"a model of {weights(model):,} weights (model.channels {model.channels}, model.blocks "
            f"{model.blocks}, model.mlp_ratio {model.mlp_ratio:g}) takes at least "
            f"{of_weights / 1e9:,.1f} GB in training, and {device} has {available / 1e9:,.1f} GB; "
            "make it smaller"
        )
    if of_weights + least_activations(config, inner) > available:
        raise ValueError(what_would_fit(config.training, device))


def _check_cutoff(integral: IntegralBranch, grid: Grid) -> None:
    shape, basis = integral.kernel_shape, integral.basis_type
    if not has_empty_filter(grid, integral.theta_cutoff, shape, basis):
        return
    smallest = smallest_cutoff(grid, shape, basis)
    if math.isinf(smallest):
        raise ValueError(
            f"model.branches.integral.kernel_shape {list(shape)} has more basis functions than "
            f"the grid {grid} has points for; make it smaller"
        )
    raise ValueError(
        f"model.branches.integral.theta_cutoff is {integral.theta_cutoff:g}, within which the "
        f"grid {grid} has no points for some basis functions; take at least "
        f"{math.ceil(smallest * 1e4) / 1e4:g} (about {3 * math.pi / grid.nlat:.2g} is usual)"
    )


def weights(model: ModelConfig) -> int:
    """Number of weights of the blocks, but for biases."""
    spectral, integral = model.branches.spectral, model.branches.integral
    per_pair = 0.0
    if spectral is not None:
        per_pair += spectral.lmax * (2 if spectral.complex else 1)
    if integral is not None:
        per_pair += basis_size(integral.kernel_shape, integral.basis_type)
    if model.branches.differential is not None:
        per_pair += _DERIVATIVES[model.branches.differential.order]
    per_pair += 3 * model.mlp_ratio
    return model.blocks * int(model.channels**2 * per_pair)


def _memory_of_weights(config: Config) -> int:
    """Bytes of the weights, their gradients and the optimiser's state in a process."""
    training, mesh = config.training, current()
    moments = 4.0 if training.optimizer == "muon" else 8.0
    if training.shard_optimizer:
        moments /= mesh.data.ranks * mesh.latitude.ranks
    return int(weights(config.model) * (8 + moments + 4 * (training.ema_decay is not None)))


def least_activations(config: Config, grid: Grid) -> int:
    """Bytes of the fields that a process keeps at least for the backward pass of the blocks.

    Args:
        config: the experiment.
        grid: of the blocks.
    """
    model, training, mesh = config.model, config.training, current()
    kept = 1.0 if training.checkpoint_blocks else 2 + 2 * model.mlp_ratio  # per channel
    states = training.batch_size * (training.members or 1) / mesh.data.ranks
    states *= 1 if training.checkpoint_steps else training.rollout_steps
    points = grid.nlat * grid.nlon / mesh.latitude.ranks
    size = 4 if training.precision == "float32" else 2
    return int(states * model.blocks * model.channels * kept * points * size)


def _available(device: torch.device) -> int:
    """Bytes that can still be taken on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
