"""Statistics of the rows of all ranks of a mesh."""

from __future__ import annotations

import torch

from data_prep.store.gather.moments import Moments
from sphere_ops.parallel.mesh import current


def over_rows(own: Moments) -> Moments:
    """Merge the moments of the rows of all ranks, by Chan's formula for many parts."""
    mesh, weight, mean = current(), torch.from_numpy(own.weight), torch.from_numpy(own.mean)
    total = mesh.sum_rows(weight)
    centre = mesh.sum_rows(weight * mean) / total.clamp(min=torch.finfo(total.dtype).tiny)
    square = mesh.sum_rows(torch.from_numpy(own.square) + weight * (mean - centre).square())
    return Moments(total.numpy(), centre.numpy(), square.numpy())
