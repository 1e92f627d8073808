"""Errors of the local branches on spherical harmonics, by degree.

    python -m benchmarks.accuracy.symbols [--quick] [--json FILE]

Every filter is applied to the harmonics of one degree and all orders. Its error is relative to the
exact derivatives (differential branch), or to the same filter with its input on 512 rows (integral
branch; relative to its largest response of any degree), L2 over the sphere and over the orders.
Grids are Legendre-Gauss ones, truncated at two thirds of their rows. `polynomials` and `fitted` are
the two kinds of stencils; `fitted, r rows` have r rows to each side instead of four. For filters of
the integral branch the input is on half, all and twice the rows.
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
from sphere_ops.kernels.disco import IntegralFilter, Normalization
from sphere_ops.kernels.filters import BandedFilters
from sphere_ops.kernels.fitted_integrals import FittedIntegral
from sphere_ops.kernels.fitted_stencils import exact_derivatives, fitted_filters
from sphere_ops.kernels.legendre import legendre
from sphere_ops.kernels.stencils import differential_filters

CASES = ((64, 43), (32, 22))
"""Rows of the grid, and degrees of the fields, exclusive."""
Kernel = tuple[float, tuple[int, ...], str, Normalization]
_FINE = 512
_DERIVATIVES = ("east", "north", "east-east", "east-north", "north-north")


def responses(filters: BandedFilters, grid: Grid, lmax: int, orders: range) -> Tensor:
    """Return what filters make of the harmonics, (k, m, l, h) complex128, on the output rows."""
    symbols = torch.fft.rfft(filters.values).conj()[..., orders.start : orders.stop]
    rows = filters.first_row[:, None] + torch.arange(filters.values.shape[2])
    p = legendre(grid, lmax, orders.stop, first=orders.start)[..., rows]  # (m, l, h, band)
    return torch.einsum("khrm,mlhr->kmlh", symbols, p + 0j)


def derivative_errors(grid: Grid, filters: BandedFilters, lmax: int) -> dict[str, list[float]]:
    """Return the errors of the five derivatives for every degree."""
    found = responses(filters, grid, lmax, range(lmax))
    exact = exact_derivatives(grid.colatitude, lmax, lmax)
    area = grid.area_weights[:, 0]
    wrong, right = ((x.abs() ** 2 * area).sum((1, 3)) for x in (found - exact, exact))  # (k, l)
    vanishes = right < 1e-20  # ∂_en of degree 1, and all of degree 0
    errors = torch.where(vanishes, 0.0, wrong / right.clamp(min=1e-20)).sqrt()
    return {name: e.tolist() for name, e in zip(_DERIVATIVES, errors, strict=True)}


def integral_errors(grid: Grid, rows: int, lmax: int, fitted: bool) -> list[float]:
    """Return the largest error of a filter for every degree, with input on a number of rows."""
    kernel: Kernel = (0.15 * 64 / grid.nlat, (3, 3), "piecewise linear", "nodal")
    coarse, fine = (Grid.legendre_gauss(n, 2 * n) for n in (rows, _FINE))
    area = grid.area_weights[:, 0]
    wrong = right = torch.zeros(())
    sampled = IntegralFilter(*kernel)
    tried = FittedIntegral(*kernel, lmax) if fitted else sampled
    filters = [tried.sample(coarse, grid), sampled.sample(fine, grid)]
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
        about | {"filters": name, "band": filters.values.shape[2]}
        | derivative_errors(grid, filters, lmax)
        for name, filters in stencils.items()
    ]  # fmt: skip
    for rows in (nlat // 2, nlat, 2 * nlat):
        for fitted in (False, True):
            name = f"integral{', fitted' * fitted}, {rows} rows"
            errors = integral_errors(grid, rows, min(lmax, rows), fitted)
            found.append(about | {"filters": name, "integral": errors})
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
        errors = [row[name] for name in (*_DERIVATIVES, "integral") if name in row]
        largest = [max(of) for of in zip(*errors, strict=True)]
        print(f"{row['nlat']:3d} rows, {row['filters']:26} ", end="")
        shown = [l for l in (5, 10, 15, 20, 21, 30, 40, 42) if l < len(largest)]
        print(" ".join(f"{l}: {largest[l]:.4f}" for l in shown), flush=True)
    if arguments.json:
        text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
