"""Smooth extension of fields over the points where they have no values."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import check_on_grid, own_rows
from sphere_ops.parallel.mesh import current

_ITERATIONS = 2  # on each level; more hardly change the spectrum of a filled field
_DAMPING = 0.8  # of Jacobi's iteration for the Laplacian in two dimensions


class SmoothFill(nn.Module):
    """Smooth extension of fields over the points outside a mask, continuous at the coast.

    It approximates the solution of Laplace's equation ∇²f = 0 outside the mask with the values
    inside as boundary condition. Area means over 2×2 cells are taken until every cell has a value.
    On the way back every level starts from the interpolated coarser one, and a few of Jacobi's
    iterations smooth it. Each value is a mean of valid ones with positive weights: constants are
    kept, and there are no new extremes. The output is linear in the field, and differentiable.

    For a mask that changes make a new `SmoothFill` each time, or call `smooth_fill`. In a mesh,
    masks and fields are this rank's rows; every rank then fills the whole field.
    """

    def __init__(self, mask: Tensor, grid: Grid) -> None:
        """Find the cells of each level that have values.

        Args:
            mask: Points that have values, bool (..., nlat, nlon). Its leading dimensions broadcast
                to those of the fields. A field without any such point is filled with 0.
            grid: Grid of masks and fields.
        """
        super().__init__()
        check_on_grid(mask, grid)
        self.grid = grid
        self.n_levels = 0
        area = _whole_rows(mask.double(), grid)  # of the valid part of each cell
        area = area * grid.area_weights.to(area)
        while True:
            coarse = _pooled(area)
            # Share of a cell in the valid area of its coarser cell.
            share = area / _repeated(coarse, area.shape).clamp(min=1e-30)
            self.register_buffer(f"valid_{self.n_levels}", area > 0, persistent=False)
            self.register_buffer(f"share_{self.n_levels}", share.float(), persistent=False)
            neighbours = _neighbours(grid, self.n_levels).to(share)
            self.register_buffer(f"neighbours_{self.n_levels}", neighbours, persistent=False)
            self.n_levels += 1
            if max(area.shape[-2:]) == 1 or bool((area > 0).all()):
                break
            area = coarse

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., nlat, nlon) with values outside the mask, where it may be NaN."""
        check_on_grid(x, self.grid)
        valid = [self.get_buffer(f"valid_{k}") for k in range(self.n_levels)]
        own = valid[0][..., own_rows(self.grid), :]
        levels = [_whole_rows(x.where(own, 0), self.grid)]
        for k in range(self.n_levels - 1):
            levels.append(_pooled(levels[-1] * self.get_buffer(f"share_{k}").to(x)))
        filled = levels[-1]
        for k in reversed(range(self.n_levels - 1)):
            filled = _single_poles(_interpolated(filled, levels[k].shape))
            filled = levels[k].where(valid[k], filled)
            neighbours = self.get_buffer(f"neighbours_{k}").to(x)
            for _ in range(_ITERATIONS):
                filled = levels[k].where(valid[k], _smoothed(filled, neighbours))
        return filled[..., own_rows(self.grid), :]


def smooth_fill(x: Tensor, mask: Tensor, grid: Grid) -> Tensor:
    """Fill fields outside a mask smoothly; see `SmoothFill`, which is faster for a constant mask.

    Args:
        x: Fields, (..., nlat, nlon), anything outside the mask.
        mask: Points that have values, bool, of a shape that broadcasts to that of x.
        grid: Grid of both.
    """
    return SmoothFill(mask, grid)(x)


def _whole_rows(x: Tensor, grid: Grid) -> Tensor:
    """Return all rows of a field, (..., nlat, nlon); differentiable."""
    rows = own_rows(grid)
    return current().sum_rows(pad(x, (0, 0, rows.start, grid.nlat - rows.stop)))


def _pooled(x: Tensor) -> Tensor:
    """Sum over cells of 2×2 points, fewer at the end of an odd number: (..., h, w)."""
    flat = x.reshape(-1, 1, *x.shape[-2:])
    sums = avg_pool2d(flat, 2, ceil_mode=True, divisor_override=1)
    return sums.reshape(*x.shape[:-2], *sums.shape[-2:])


def _repeated(x: Tensor, shape: torch.Size) -> Tensor:
    """Repeat each cell for its 2×2 points."""
    x = x.repeat_interleave(2, -2).repeat_interleave(2, -1)
    return x[..., : shape[-2], : shape[-1]]


def _interpolated(x: Tensor, shape: torch.Size) -> Tensor:
    """Interpolate cell means linearly to their 2×2 points, (..., h, w)."""
    x = torch.lerp(x.unsqueeze(-1), torch.stack((x.roll(1, -1), x.roll(-1, -1)), -1), 0.25)
    x = x.flatten(-2)[..., : shape[-1]]
    north = torch.cat((x[..., :1, :], x[..., :-1, :]), -2)
    south = torch.cat((x[..., 1:, :], x[..., -1:, :]), -2)
    x = torch.lerp(x.unsqueeze(-2), torch.stack((north, south), -2), 0.25)
    return x.flatten(-3, -2)[..., : shape[-2], :]


def _single_poles(x: Tensor) -> Tensor:
    """Replace the first and the last row by their means, since a pole is one point."""
    if x.shape[-2] == 1:
        return x
    north, inner, south = x.split((1, x.shape[-2] - 2, 1), -2)
    north, south = (row.mean(-1, keepdim=True).expand_as(row) for row in (north, south))
    return torch.cat((north, inner, south), -2)


def _smoothed(x: Tensor, neighbours: Tensor) -> Tensor:
    """Apply one of Jacobi's iterations for ∇²f = 0, (..., h, w)."""
    north, south, east = neighbours
    step = x.diff(dim=-2)
    step = pad(south[:-1] * step, (0, 0, 0, 1)) - pad(north[1:] * step, (0, 0, 1, 0))
    return x + step + east * (x.roll(1, -1) + x.roll(-1, -1) - 2 * x)


@lru_cache(maxsize=64)
def _neighbours(grid: Grid, level: int) -> Tensor:
    """Return the weights of the neighbours to the north, south, and east (as west), (3, h, 1).

    Fluxes between cells of 2^level × 2^level points are differences times the length of the common
    edge over the distance. Weights of a row sum to the damping factor.
    """
    rows = grid.area_weights[:, 0] * grid.nlon
    sine = torch.cat((rows.new_tensor([1.0]), 1 - 2 * rows.cumsum(0)[:-1], rows.new_tensor([-1.0])))
    edges = torch.arccos(sine.clamp(-1, 1))
    last = edges[-1:]
    for _ in range(level):
        edges = edges[::2] if len(edges) % 2 else torch.cat((edges[::2], last))
    centre, height = (edges[1:] + edges[:-1]) / 2, edges.diff()
    width = 2 * torch.pi / -(-grid.nlon // 2**level)
    flux = torch.sin(edges[1:-1]) * width / centre.diff()
    zero = flux.new_zeros(1)
    north, south = torch.cat((zero, flux)), torch.cat((flux, zero))
    east = height / (torch.sin(centre) * width)
    total = (north + south + 2 * east) / _DAMPING
    return torch.stack((north, south, east))[:, :, None] / total[:, None]
