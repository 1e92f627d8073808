"""Fields whose rows are partitioned over the ranks of the current mesh."""

from __future__ import annotations

from torch import Tensor

from sphere_ops.grid import Grid
from sphere_ops.parallel.mesh import current
from sphere_ops.parallel.partition import Shard


def own_rows(grid: Grid) -> slice:
    """Return the rows of a field that this rank holds: all of them without a mesh."""
    return current().latitude.rows(grid.nlat)


def own_shape(grid: Grid) -> tuple[int, int]:
    """Return the shape (rows, nlon) of the part of a field that this rank holds."""
    return current().latitude.n_rows(grid.nlat), grid.nlon


def area_mean(x: Tensor, grid: Grid) -> Tensor:
    """Average over the sphere, weighted by cell area.

    Args:
        x: Field of shape (..., nlat, nlon), any unit; in a mesh this rank's rows.
        grid: Grid of the whole field.

    Returns:
        Mean of shape (...), in the unit of x; in a mesh that of the whole field.

    Raises:
        ValueError: If the last two dimensions of x are not those of the grid.
    """
    check_on_grid(x, grid)
    weights = grid.area_weights[own_rows(grid)].to(x)
    return current().sum_rows((x * weights).sum(dim=(-2, -1)))


def check_on_grid(x: Tensor, grid: Grid) -> None:
    """Raise a ValueError if the last two dimensions of x are not those of the grid.

    In a mesh, x has this rank's rows of the grid.
    """
    shard = current().latitude
    if x.dim() < 2 or x.shape[-2] != shard.n_rows(grid.nlat) or x.shape[-1] != grid.nlon:
        part = "" if shard == Shard() else f" (rows {shard.rows(grid.nlat)} of it on this rank)"
        raise ValueError(
            f"the last two dimensions of a field of shape {tuple(x.shape)} are not those of the "
            f"grid {grid}{part}; resample the field or build the operator for its grid"
        )
