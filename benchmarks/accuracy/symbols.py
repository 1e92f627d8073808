"""Errors of the local branches on spherical harmonics, by degree.

    python -m benchmarks.accuracy.symbols [--quick] [--json FILE]

Every filter is applied to the harmonics of one degree and all orders. Its error is relative to the
exact derivatives (differential branch), or to the same filter with its input on 512 rows (integral
branch; relative to its largest response of any degree), L2 over the sphere and over the orders.
"Worst" is the largest error of a single order that has at least a hundredth of the norm of all.
Grids are Legendre-Gauss ones, truncated at two thirds of their rows. `polynomials` and `fitted` are
the two kinds of stencils; `fitted, r rows` have other widths, at the same accuracy setting.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.speed.measure import machine
from sphere_ops.grid import Grid
from sphere_ops.kernels import estimates
from sphere_ops.kernels.disco import integral_filters
from sphere_ops.kernels.filters import BandedFilters
from sphere_ops.kernels.fitted_stencils import exact_derivatives, fitted_filters
from sphere_ops.kernels.legendre import legendre
from sphere_ops.kernels.stencils import differential_filters

CASES = ((64, 43), (32, 22))
"""Rows of the grid, and degrees of the fields, exclusive."""
_FINE = 512
_DERIVATIVES = ("east", "north", "east-east", "east-north", "north-north")


def responses(filters: BandedFilters, grid: Grid, lmax: int, orders: range) -> Tensor:
    """Return what filters make of the harmonics, (k, m, l, h) complex128, on the output rows."""
    symbols = torch.fft.rfft(filters.values).conj()[..., orders.start : orders.stop]
    rows = filters.first_row[:, None] + torch.arange(filters.values.shape[2])
    p = legendre(grid, lmax, orders.stop, first=orders.start)[..., rows]  # (m, l, h, band)
    return torch.einsum("khrm,mlhr->kmlh", symbols, p + 0j)


def derivative_errors(grid: Grid, filters: BandedFilters, lmax: int) -> dict[str, list[float]]:
    """Return the errors of the five derivatives and the worst of an order, for every degree."""
    found = responses(filters, grid, lmax, range(lmax))
    exact = exact_derivatives(grid.colatitude, lmax, lmax)
    area = grid.area_weights[:, 0]
    wrong, right = (((x.abs() ** 2) * area).sum(-1) for x in (found - exact, exact))  # (k, m, l)
    total = right.sum(1).clamp(min=1e-20)  # ∂_en of degree 1 is 0
    by_degree = (wrong.sum(1) / total).sqrt()
    large = right > 1e-4 * total[:, None]
    worst = torch.where(large, wrong / right.clamp(min=1e-20), 0.0).sqrt().amax((0, 1))
    errors = {name: e.tolist() for name, e in zip(_DERIVATIVES, by_degree, strict=True)}
    return errors | {"worst": worst.tolist()}


def integral_errors(grid: Grid, rows: int, lmax: int) -> list[float]:
    """Return the largest error of a filter for every degree, with input on a number of rows."""
    settings = (0.15 * 64 / grid.nlat, (3, 3), "piecewise linear")
    coarse, fine = (Grid.legendre_gauss(n, 2 * n) for n in (rows, _FINE))
    area = grid.area_weights[:, 0]
    wrong = right = torch.zeros(())
    filters = [integral_filters(g, grid, *settings) for g in (coarse, fine)]
    for m in range(lmax):
        found, exact = (
            responses(f, g, lmax, range(m, m + 1))
            for f, g in zip(filters, (coarse, fine), strict=True)
        )
        wrong = wrong + ((found - exact).abs() ** 2 * area).sum((1, 3))  # (k, l)
        right = right + (exact.abs() ** 2 * area).sum((1, 3))
    relative: Tensor = (wrong / right.amax(1, keepdim=True)).sqrt().amax(0)
    return relative.tolist()


def measure(nlat: int, lmax: int, widths: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the rows of one grid."""
    grid = Grid.legendre_gauss(nlat, 2 * nlat)
    stencils = {
        "polynomials": differential_filters(grid, 2),
        "fitted": fitted_filters(grid, 2, lmax),
    }
    for rows in widths:
        with patch.multiple(estimates, _ROWS=rows, _REACH=0):
            stencils[f"fitted, {rows} rows"] = fitted_filters(grid, 2, lmax)
    about = {"nlat": nlat, "lmax": lmax}
    found = [
        about | {"filters": name, "band": filters.values.shape[2], "degrees": list(range(lmax))}
        | derivative_errors(grid, filters, lmax)
        for name, filters in stencils.items()
    ]  # fmt: skip
    for rows in (nlat // 2, nlat, 2 * nlat):
        held = min(lmax, rows)
        errors = integral_errors(grid, rows, held)
        found.append(about | {"filters": f"integral, input on {rows} rows", "worst": errors})
    return found


def main() -> None:
    """Measure, print a table, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="the smaller grid, without widths")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    rows = []
    for nlat, lmax in CASES[-1:] if arguments.quick else CASES:
        rows += measure(nlat, lmax, () if arguments.quick else (2, 3, 5, 6))
    for row in rows:
        shown = [d for d in (5, 10, 15, 20, 21, 30, 40, 42) if d < len(row["worst"])]
        print(f"{row['nlat']:3d} rows, {row['filters']:28}", end="")
        print(" ".join(f"{d}: {row['worst'][d]:.4f}" for d in shown), flush=True)
    if arguments.json:
        text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
