"""Steady Darcy flow: symmetry, manufactured solutions, convergence, an independent solver."""

import pytest
import torch

from benchmarks.accuracy.equations.darcy_finite_volume import solve_finite_volume
from configs.solvers import DarcyParameters
from data_prep.equations.conjugate_gradients import inner_product, solve
from data_prep.equations.darcy import Darcy, RandomPermeability
from data_prep.equations.harmonic import unit_harmonic
from data_prep.solvers.sampling import FieldSampler
from sphere_ops.grid import Grid
from sphere_ops.harmonics.random_fields import GaussianField
from sphere_ops.harmonics.transforms import RealSHT, laplacian
from sphere_ops.parallel.fields import area_mean

LMAX = 24


def random_coefficients(seed: int, n: int = 2) -> torch.Tensor:
    field = GaussianField(Grid.legendre_gauss(LMAX, 2 * LMAX), 0.1, LMAX, first_degree=1)
    return field.whole_coefficients([(seed, i) for i in range(n)]).to(torch.complex128)


def media(length: float = 0.4) -> tuple[RandomPermeability, torch.Tensor]:
    random = RandomPermeability(DarcyParameters(length=length))
    return random, random.coefficients([1, 2])


def sharp(grid: Grid, length: float = 0.4) -> torch.Tensor:
    random, coeffs = media(length)
    return random.on_grid(FieldSampler(grid, random.lmax), coeffs)


def smooth(grid: Grid) -> torch.Tensor:
    random, coeffs = media()
    return 7.5 + 2 * torch.tanh(FieldSampler(grid, random.lmax).scalar(coeffs))


def source(lmax: int, n: int = 2) -> torch.Tensor:
    return unit_harmonic(lmax, 3, 2).expand(n, -1, -1)


def relative(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the relative L2 difference of coefficients, of which the truth has more degrees."""
    padded = torch.zeros_like(truth)
    padded[:, : x.shape[-2], : x.shape[-1]] = x
    difference = padded - truth
    return float((inner_product(difference, difference) / inner_product(truth, truth)).max().sqrt())


def test_the_operator_is_symmetric_and_positive_definite() -> None:
    darcy = Darcy(LMAX)
    a = sharp(darcy.grid)
    x, y = random_coefficients(1), random_coefficients(2)
    there, back = (
        inner_product(x, darcy.apply(a, y)),
        inner_product(darcy.apply(a, x), y),
    )
    size = (inner_product(x, x) * inner_product(darcy.apply(a, y), darcy.apply(a, y))).sqrt()
    assert ((there - back).abs() / size).max() < 1e-13
    for z in (x, y):
        energy, of_laplacian = inner_product(z, darcy.apply(a, z)), inner_product(z, -laplacian(z))
        assert (energy >= 3 * of_laplacian * (1 - 1e-12)).all()
        assert (energy <= 12 * of_laplacian * (1 + 1e-12)).all()


def test_a_constant_permeability_makes_poisson_s_equation() -> None:
    darcy = Darcy(LMAX)
    a = torch.full((2, *darcy.grid.shape), 5.0, dtype=torch.float64)
    head = darcy.solve(a, source(LMAX))
    assert relative(head, source(LMAX) / (5 * 3 * 4)) < 1e-12


def test_a_manufactured_solution_is_found_and_its_source_is_that_of_the_product_rule() -> None:
    """Take a and u of low degree: f = −a∇²u − ∇a·∇u has a closed form for a = 5 + z, u = xy.

    On the unit sphere ∇²(xy) = −6xy and ∇z·∇(xy) = −2z·xy.
    """
    darcy = Darcy(LMAX)
    latitude = torch.deg2rad(darcy.grid.latitude)[:, None]
    longitude = torch.deg2rad(darcy.grid.longitude)
    x = torch.cos(latitude) * torch.cos(longitude)
    y = torch.cos(latitude) * torch.sin(longitude)
    z = torch.sin(latitude).expand_as(x)
    to_coefficients = FieldCoefficients(darcy.grid)
    a, wanted = (5 + z)[None], to_coefficients(x * y)
    f = to_coefficients((5 + z) * 6 * x * y + 2 * z * x * y)
    assert relative(darcy.apply(a, wanted), f) < 1e-13
    assert relative(darcy.solve(a, f), wanted) < 1e-9


class FieldCoefficients:
    """Analysis of a field on a grid."""

    def __init__(self, grid: Grid) -> None:
        self._analysis = RealSHT(grid, LMAX, LMAX)

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """Return coefficients (1, lmax, lmax)."""
        return self._analysis(field[None])


def test_smooth_permeability_converges_spectrally() -> None:
    def error(lmax: int) -> float:
        return relative(solution(lmax), truth)

    def solution(lmax: int) -> torch.Tensor:
        darcy = Darcy(lmax)
        return darcy.solve(smooth(darcy.grid), source(lmax), 1e-12)

    truth = solution(80)
    errors = [error(lmax) for lmax in (16, 32, 48)]
    assert errors[0] / errors[1] > 50
    assert errors[1] / errors[2] > 20
    assert errors[2] < 1e-6


def test_piecewise_constant_permeability_converges_to_the_solution_of_finite_volumes() -> None:
    """Compare two methods that have in common only the values of a: both are of first order."""

    def difference(lmax: int) -> float:
        grid, darcy = Grid.cell_centred(lmax, 2 * lmax), Darcy(lmax)
        f = FieldSampler(grid, 4).scalar(unit_harmonic(4, 3, 2))
        volumes = torch.stack([solve_finite_volume(a, f) for a in sharp(grid)])
        head = darcy.solve(sharp(darcy.grid), source(lmax))
        field = FieldSampler(grid, lmax).scalar(head)
        error = area_mean((field - volumes) ** 2, grid) / area_mean(volumes**2, grid)
        return float(error.max().sqrt())

    coarse, fine = difference(32), difference(64)
    assert fine < 0.025
    assert fine < coarse / 1.7


def test_finite_volumes_of_second_order_for_smooth_permeability() -> None:
    """Check the solver that the others are compared with, against the spectral one."""
    darcy = Darcy(48)
    truth = darcy.solve(smooth(darcy.grid), source(48))

    def error(n: int) -> float:
        grid = Grid.cell_centred(n, 2 * n)
        f = FieldSampler(grid, 4).scalar(unit_harmonic(4, 3, 2))
        found = solve_finite_volume(smooth(grid)[0], f)
        return float(area_mean((found - FieldSampler(grid, 48).scalar(truth)[0]) ** 2, grid).sqrt())

    assert 3.5 < error(16) / error(32) < 4.5


def test_the_head_is_scaled_with_the_permeability_and_has_no_mean() -> None:
    darcy = Darcy(LMAX)
    a = sharp(darcy.grid)
    head = darcy.solve(a, source(LMAX))
    assert head[:, 0, 0].abs().max() == 0
    assert relative(2 * darcy.solve(2 * a, source(LMAX)), head) < 1e-9


def test_samples_of_a_batch_are_independent() -> None:
    darcy = Darcy(LMAX)
    a = sharp(darcy.grid)
    together = darcy.solve(a, source(LMAX))
    alone = torch.cat([darcy.solve(one[None], source(LMAX, 1)) for one in a])
    assert relative(alone, together) < 1e-9  # ten times the tolerance of the residual


def test_a_source_with_a_mean_is_refused() -> None:
    darcy = Darcy(LMAX)
    with pytest.raises(ValueError, match="has a mean; subtract it"):
        darcy.solve(sharp(darcy.grid), source(LMAX) + unit_harmonic(LMAX, 0, 0))


def test_a_system_that_does_not_converge_is_an_error() -> None:
    right = random_coefficients(3)
    with pytest.raises(ArithmeticError, match="did not reach"):
        solve(lambda x: -laplacian(x), lambda x: x, right, most_steps=2)


def test_permeability_has_its_two_values_on_equal_areas_on_average() -> None:
    random = RandomPermeability(DarcyParameters(high=7.0, low=2.0))
    grid = Grid.legendre_gauss(64, 128)
    a = random.on_grid(random.sampler(grid), random.coefficients(range(100)))
    assert a.unique().tolist() == [2.0, 7.0]
    # Of 100 samples with some ten independent regions each.
    assert float(area_mean((a == 7).double(), grid).mean()) == pytest.approx(0.5, abs=0.05)


def test_a_grid_that_does_not_resolve_the_permeability_is_refused() -> None:
    random = RandomPermeability(DarcyParameters(length=0.1))
    with pytest.raises(ValueError, match="0.1 radians on a grid legendre-gauss 32×64; take at"):
        random.sampler(Grid.legendre_gauss(32, 64))
