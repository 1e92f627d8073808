"""Errors of the local branches by degree, on a small grid."""

import pytest

from benchmarks.accuracy import symbols
from benchmarks.accuracy.symbols import integral_errors, measure
from sphere_ops.grid import Grid


@pytest.fixture(autouse=True)
def _small_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "_FINE", 96)


def test_errors_of_stencils_are_those_of_degree_and_kind() -> None:
    rows = {row["filters"]: row for row in measure(12, 8, (2,))}
    polynomials, fitted, narrow = (
        rows[n] for n in ("polynomials", "fitted", "fitted, 2 rows")
    )  # fmt: skip
    assert [r["band"] for r in (polynomials, fitted, narrow)] == [5, 9, 5]
    assert polynomials["north"][1] < 0.02 < 0.1 < polynomials["north"][7]
    assert max(fitted["north"][1:]) < 0.04
    assert fitted["north"][7] < narrow["north"][7] < polynomials["north"][7]


def test_errors_of_integral_filters_fall_with_the_rows_and_by_the_fit() -> None:
    grid = Grid.legendre_gauss(12, 24)
    coarse, fine = (integral_errors(grid, rows, 8, fitted=False) for rows in (12, 48))
    assert coarse[0] == pytest.approx(0, abs=1e-6) and max(fine) < 0.2 * max(coarse)
    assert max(integral_errors(grid, 12, 8, fitted=True)) < 0.2 * max(coarse)
