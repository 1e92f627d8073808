"""Error of the solver of Darcy flow by resolution.

    python -m benchmarks.accuracy.equations.darcy [--quick] [--json FILE]

The error is the relative L2 difference from the Galerkin solution at the highest resolution, of the
mean of some samples, over the sphere. Finite volumes are an independent solver.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.accuracy.equations.darcy_finite_volume import solve_finite_volume
from benchmarks.speed.measure import machine
from configs.solvers import DarcyParameters
from data_prep.equations.darcy import Darcy, RandomPermeability
from data_prep.equations.harmonic import unit_harmonic
from data_prep.solvers.sampling import FieldSampler
from data_prep.solvers.truncation import quadratic_grid
from sphere_ops.grid import Grid
from sphere_ops.parallel.fields import area_mean

_SEEDS = [1, 2, 3]
_FEW = 10  # degrees that hold the source


def main(words: list[str] | None = None) -> None:
    """Measure, print a table, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="Low resolutions only.")
    parser.add_argument("--json", type=Path, help="File to write.")
    options = parser.parse_args(words)
    reference = 43 if options.quick else 193
    resolutions = [22, 32] if options.quick else [32, 43, 64, 86, 129]
    cells = [16, 32] if options.quick else [32, 64, 128]
    rows: list[dict[str, object]] = []
    for smooth in (True, False):
        media = _Media(smooth)
        truth = media.galerkin(reference)
        for lmax in resolutions:
            for finer in (1, 2):
                found = media.galerkin(lmax, finer)
                rows.append(media.row("Galerkin", lmax, finer, found, truth))
        for n in cells:
            rows.append(media.finite_volume_row(n, truth))
    for row in rows:
        print(json.dumps(row))
    if options.json:
        held = {"machine": machine(), "reference": reference, "rows": rows}
        options.json.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


class _Media:
    """Permeabilities of some seeds, smooth or piecewise constant."""

    def __init__(self, smooth: bool) -> None:
        self.smooth, self.parameters = smooth, DarcyParameters()
        self.random = RandomPermeability(self.parameters)
        self.coeffs = self.random.coefficients(_SEEDS)

    def on_grid(self, grid: Grid) -> Tensor:
        """Return the permeabilities at the points of a grid."""
        sampler = FieldSampler(grid, self.random.lmax)
        if self.smooth:
            return 7.5 + 2 * torch.tanh(sampler.scalar(self.coeffs))
        return self.random.on_grid(sampler, self.coeffs)

    def galerkin(self, lmax: int, finer: int = 1) -> Tensor:
        """Return the coefficients of the Galerkin solution."""
        grid = quadratic_grid(lmax)
        grid = Grid.legendre_gauss(finer * grid.nlat, finer * grid.nlon)
        return Darcy(lmax, grid).solve(self.on_grid(grid), self.source(lmax))

    def source(self, lmax: int) -> Tensor:
        """Return the coefficients of the source of the preset, (n, lmax, lmax)."""
        p = self.parameters
        source = unit_harmonic(lmax, p.source_degree, p.source_order)
        return source.expand(len(_SEEDS), -1, -1)

    def row(
        self, method: str, resolution: int, finer: int, found: Tensor, truth: Tensor
    ) -> dict[str, object]:
        """Return a row of the table, from coefficients."""
        padded = torch.zeros_like(truth)
        padded[:, : found.shape[-2], : found.shape[-1]] = found
        error = (padded - truth).abs().square().sum((-2, -1)).sqrt()
        relative = (error / truth.abs().square().sum((-2, -1)).sqrt()).mean()
        return self._row(method, resolution, finer, float(relative))

    def finite_volume_row(self, n: int, truth: Tensor) -> dict[str, object]:
        """Return the row of finite volumes with n rows of cells, compared at their centres."""
        grid = Grid.cell_centred(n, 2 * n)
        source = FieldSampler(grid, _FEW).scalar(self.source(_FEW)[0])
        found = torch.stack([solve_finite_volume(a, source) for a in self.on_grid(grid)])
        wanted = FieldSampler(grid, truth.shape[-1]).scalar(truth)
        error = area_mean((found - wanted) ** 2, grid) / area_mean(wanted**2, grid)
        return self._row("finite volumes", n, 1, float(error.sqrt().mean()))

    def _row(self, method: str, resolution: int, finer: int, error: float) -> dict[str, object]:
        return {
            "name": method,
            "permeability": "smooth" if self.smooth else "piecewise constant",
            "resolution": resolution,
            "quadrature": finer,
            "error": error,
        }


if __name__ == "__main__":
    main()
